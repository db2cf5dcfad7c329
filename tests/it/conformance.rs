//! What a conforming gateway does, statement by statement: what we do, and the test that shows it.
//!
//! The numbers are those of the list of behaviours that this server was built against: RFC 3875, and what Apache,
//! lighttpd, nginx, Go and Python's server were seen to do where it leaves a choice.

use Statement::{Elsewhere, Shown};

/// How a statement stands.
enum Statement {
    /// What we do, and the tests that show it, as `module::test`.
    Shown(&'static str, &'static [&'static str]),
    /// In one sentence, why no test here shows it.
    Elsewhere(&'static str),
}

/// How many statements there are.
const STATEMENTS: usize = 170;

#[rustfmt::skip] // One statement, one line.
const TABLE: &[(usize, Statement)] = &[
    // 1 Meta-variables
    (1, Shown("`CGI/1.1`", &["variables::a_plain_get_has_exactly_these_variables"])),
    (2, Shown("any token passes, case kept; TRACE, TRACK and CONNECT are refused", &["variables::methods_pass_as_sent"])),
    (3, Shown("always there", &["variables::a_plain_get_has_exactly_these_variables"])),
    (4, Shown("raw text behind the first `?`", &["variables::queries_stay_raw"])),
    (5, Shown("empty, and REQUEST_URI keeps its `?`", &["variables::queries_stay_raw"])),
    (6, Shown("400", &["variables::a_fragment_is_refused"])),
    (7, Shown("the decoded part that chose the script", &["variables::the_path_is_split_between_script_name_and_path_info"])),
    (8, Shown("empty at the root", &["variables::a_script_at_the_root_has_an_empty_name", "variables::a_script_for_a_suffix_has_an_empty_name"])),
    (9, Shown("decoded once, octets kept", &["variables::path_info_is_decoded_once_and_keeps_its_octets", "variables::octets_beyond_ascii_arrive_as_sent"])),
    (10, Shown("`+` stays", &["variables::the_path_is_split_between_script_name_and_path_info"])),
    (11, Shown("set and empty; `empty-path-info = \"unset\"` leaves it out", &["variables::a_plain_get_has_exactly_these_variables", "variables::an_empty_path_info_can_be_left_out"])),
    (12, Shown("`/`", &["variables::the_path_is_split_between_script_name_and_path_info"])),
    (13, Shown("decoded in PATH_INFO only; `encoded-slash = \"reject\"` is 404", &["variables::the_path_is_split_between_script_name_and_path_info", "variables::an_encoded_slash_can_be_refused"])),
    (14, Shown("400, nothing starts", &["variables::bad_escapes_are_refused_before_a_script_starts"])),
    (15, Shown("400", &["variables::bad_escapes_are_refused_before_a_script_starts"])),
    (16, Shown("400", &["variables::bad_escapes_are_refused_before_a_script_starts"])),
    (17, Shown("document root and decoded PATH_INFO, only with PATH_INFO, never with `..`: a `..` beside an encoded slash is 400", &["variables::the_path_is_split_between_script_name_and_path_info", "variables::bad_escapes_are_refused_before_a_script_starts"])),
    (18, Shown("nothing is looked at", &["variables::path_translated_needs_no_file_and_makes_none"])),
    (19, Shown("the raw target in origin form", &["variables::the_path_is_split_between_script_name_and_path_info", "variables::an_absolute_target_is_reduced_and_replaces_host"])),
    (20, Shown("accepted", &["variables::an_absolute_target_is_reduced_and_replaces_host"])),
    (21, Shown("absolute path of the file", &["variables::a_plain_get_has_exactly_these_variables"])),
    (22, Shown("absolute path of the site", &["variables::a_plain_get_has_exactly_these_variables"])),
    (23, Shown("200, always", &["variables::a_plain_get_has_exactly_these_variables"])),
    (24, Shown("with a body only; `0` where the client said so", &["variables::length_and_type_are_set_only_for_a_body"])),
    (25, Shown("only what the client sent", &["variables::length_and_type_are_set_only_for_a_body"])),
    (26, Shown("the client's version", &["variables::server_name_and_port", "variables::http2_requests_have_the_same_variables"])),
    (27, Shown("no port, IPv6 in brackets", &["variables::server_name_and_port", "variables::ipv6_addresses_have_no_brackets"])),
    (28, Shown("an invalid Host is 400; `server-name` wins", &["edge::a_host_is_needed_once_and_well_formed", "variables::a_configured_server_name_wins"])),
    (29, Shown("the port of the socket", &["variables::server_name_and_port"])),
    (30, Shown("equal", &["variables::server_software_is_the_server_field"])),
    (31, Shown("the bare address", &["variables::a_plain_get_has_exactly_these_variables", "variables::ipv6_addresses_have_no_brackets"])),
    (32, Shown("the address; nothing is looked up", &["variables::a_plain_get_has_exactly_these_variables"])),
    (33, Shown("all there; HTTPS only over TLS", &["variables::a_plain_get_has_exactly_these_variables", "variables::remote_port_is_the_clients"])),
    (34, Shown("only after our own check", &["variables::credentials_are_withheld_unless_the_route_says_otherwise", "routes::credentials_come_before_any_process"])),
    (35, Shown("only as HTTP_REMOTE_USER and so on", &["variables::fields_cannot_pose_as_the_servers_own_variables"])),
    (36, Shown("HTTP_ and the name in capitals", &["variables::header_fields_become_variables"])),
    (37, Shown("`, `; `,` and an empty HTTP_ACCEPT under `--python-compat`", &["variables::header_fields_become_variables", "python::accept_fields_are_joined"])),
    (38, Shown("`; `", &["variables::header_fields_become_variables"])),
    (39, Shown("one HTTP_COOKIE", &["variables::http2_requests_have_the_same_variables"])),
    (40, Shown("never on any gateway", &["variables::the_proxy_field_never_arrives"])),
    (41, Shown("dropped", &["variables::a_twin_with_underscore_never_overwrites"])),
    (42, Shown("dropped", &["variables::a_twin_with_underscore_never_overwrites"])),
    (43, Shown("not created", &["variables::length_and_type_are_set_only_for_a_body"])),
    (44, Shown("withheld; `pass-authorization` passes the first", &["variables::credentials_are_withheld_unless_the_route_says_otherwise"])),
    (45, Shown("absent", &["variables::length_and_type_are_set_only_for_a_body", "variables::header_fields_become_variables"])),
    (46, Shown("passed", &["variables::header_fields_become_variables"])),
    (47, Shown("octet by octet", &["variables::octets_beyond_ascii_arrive_as_sent"])),
    (48, Shown("empty variable", &["variables::header_fields_become_variables"])),
    (49, Shown("PATH, TZ, LANG, LC_* and what the operator names", &["variables::the_environment_is_only_ours"])),
    (50, Shown("a default where the server has none", &["variables::path_is_never_empty"])),
    (51, Shown("nothing is shared", &["variables::simultaneous_requests_do_not_mix", "python::the_environment_of_the_server_is_not_altered"])),
    (52, Shown("the edge's limits (414, 431) are below the kernel's", &["variables::too_large_an_environment_is_the_clients_fault"])),
    // 2 Command line
    (53, Shown("GET and HEAD without `=`", &["arguments::words_of_a_query_become_arguments_where_switched_on"])),
    (54, Shown("split on `+`, decoded; one bad word and there are none", &["arguments::words_of_a_query_become_arguments_where_switched_on"])),
    (55, Shown("none", &["arguments::words_of_a_query_become_arguments_where_switched_on"])),
    (56, Shown("off unless `isindex`", &["arguments::there_are_none_unless_switched_on"])),
    (57, Shown("the script's path", &["arguments::the_name_on_the_command_line_is_the_scripts"])),
    // 3 Request body
    (58, Shown("exact, then end of file", &["bodies::a_body_arrives_whole_and_then_ends", "bodies::what_follows_the_body_is_the_next_request_and_not_input"])),
    (59, Shown("end of file at once", &["bodies::without_a_body_input_ends_at_once"])),
    (60, Shown("in step", &["bodies::an_unread_body_never_becomes_the_next_request"])),
    (61, Shown("the upload is read and thrown away, the answer delivered", &["bodies::an_unread_upload_of_any_size_costs_no_answer"])),
    (62, Shown("both directions at once", &["bodies::a_whole_answer_may_come_before_the_first_octet_is_read"])),
    (63, Shown("spooled, CONTENT_LENGTH set", &["bodies::a_chunked_body_is_spooled_and_its_length_is_right"])),
    (64, Shown("413 before anything starts, both ways", &["bodies::a_body_over_the_limit_is_413_and_nothing_starts", "routes::a_limit_of_the_body_per_route"])),
    (65, Shown("100 when the body is asked for; not to what is refused", &["bodies::continue_is_said_when_the_script_is_fed", "bodies::continue_is_not_said_to_what_is_refused"])),
    (66, Shown("417", &["bodies::another_expectation_is_417"])),
    (67, Shown("empty body", &["bodies::without_a_body_input_ends_at_once"])),
    (68, Shown("400", &["edge::a_body_has_one_length"])),
    (69, Shown("ended, without an end of file before", &["bodies::leaving_mid_upload_gives_the_script_no_end_of_file", "leaving::leaving_mid_upload_kills"])),
    // 4 Response headers
    (70, Shown("all of them", &["heads::lines_end_with_lf_or_crlf_or_both"])),
    (71, Shown("200 without a type", &["heads::a_head_without_a_type_is_answered_without_one"])),
    (72, Shown("200", &["heads::status_is_taken_in_every_spelling"])),
    (73, Shown("any case", &["heads::status_is_taken_in_every_spelling"])),
    (74, Shown("works", &["heads::status_is_taken_in_every_spelling"])),
    (75, Shown("forwarded", &["heads::status_is_taken_in_every_spelling"])),
    (76, Shown("502, no octet of the body", &["heads::bad_status_is_502"])),
    (77, Shown("the last wins, with a remark in the log", &["heads::two_statuses_are_remarked_upon"])),
    (78, Shown("502 and how it ended", &["heads::a_script_that_says_nothing_is_502_and_the_log_says_how_it_ended"])),
    (79, Shown("502", &["heads::rubbish_is_502_and_no_octet_of_it_reaches_the_client"])),
    (80, Shown("502", &["heads::rubbish_is_502_and_no_octet_of_it_reaches_the_client"])),
    (81, Shown("502", &["heads::rubbish_is_502_and_no_octet_of_it_reaches_the_client"])),
    (82, Shown("502; a name that is no token is dropped and logged", &["heads::rubbish_is_502_and_no_octet_of_it_reaches_the_client", "heads::names_that_are_no_tokens_are_dropped_and_logged"])),
    (83, Shown("502", &["heads::folded_lines_are_502"])),
    (84, Shown("502", &["heads::control_octets_in_a_value_are_502"])),
    (85, Shown("pass", &["heads::octets_beyond_ascii_pass_through"])),
    (86, Shown("dropped for CGI fields, forwarded for others", &["heads::empty_values_are_no_error"])),
    (87, Shown("64 KiB and 1000 fields, configurable; 502", &["heads::a_head_over_the_limit_is_502", "heads::the_limits_of_a_head_are_the_operators"])),
    (88, Shown("separate, in order", &["heads::repeated_fields_stay_separate_and_in_order"])),
    (89, Shown("separate; conflicts of the three are 502", &["heads::repeated_fields_stay_separate_and_in_order", "heads::fields_that_may_stand_once_conflict"])),
    (90, Shown("removed, those that Connection names as well", &["heads::hop_by_hop_fields_end_here"])),
    (91, Shown("unframed where it is exactly `chunked`, with or without nph-; 502 otherwise", &["heads::a_chunked_body_is_unframed_and_framed_once", "heads::other_codings_of_a_script_are_502", "heads::broken_chunks_of_a_script_break_the_answer_off"])),
    (92, Shown("one of each, the script's own first", &["heads::there_is_one_date_and_one_server"])),
    (93, Shown("passed on: the RFC says \"may\"", &["heads::hop_by_hop_fields_end_here"])),
    (94, Shown("exactly so many, a remark in the log", &["heads::a_body_beyond_its_length_is_cut_and_the_connection_stays_in_step"])),
    (95, Shown("broken off", &["heads::a_body_short_of_its_length_breaks_the_answer_off"])),
    (96, Shown("no body", &["heads::answers_without_a_body_have_none"])),
    (97, Shown("no body, the output is drained", &["heads::head_is_answered_like_get_without_the_body"])),
    (98, Shown("forwarded, not to HTTP/1.0", &["heads::interim_answers_are_forwarded", "heads::an_interim_answer_arrives_before_the_final_one_is_ready"])),
    (99, Shown("no chunks, closed, streamed", &["heads::http_1_0_gets_no_chunks_and_a_close"])),
    (100, Shown("left to the script", &["heads::ranges_are_the_scripts_business"])),
    // 5 Redirects
    (101, Shown("302", &["redirects::an_absolute_location_is_302"])),
    (102, Shown("as given", &["redirects::status_and_body_are_passed_as_given"])),
    (103, Shown("answered here; `local-redirect = false` sends it to the client", &["redirects::a_local_path_is_answered_by_this_server", "redirects::a_local_redirect_is_a_get_without_the_body_and_knows_where_it_came_from", "redirects::local_redirects_can_be_switched_off"])),
    (104, Shown("only where Location stands alone", &["redirects::a_local_path_with_company_goes_to_the_client"])),
    (105, Shown("GET (HEAD for HEAD's client), ten hops, then 502", &["redirects::a_loop_ends_after_ten_hops", "redirects::a_local_redirect_keeps_head_a_head"])),
    (106, Shown("the client's to follow", &["redirects::another_host_or_a_relative_place_is_the_clients_to_find"])),
    (107, Shown("302 as it is", &["redirects::another_host_or_a_relative_place_is_the_clients_to_find"])),
    (108, Shown("`Content-Length: 0`", &["redirects::an_absolute_location_is_302"])),
    (109, Shown("by path alone, query kept", &["redirects::a_folder_without_its_slash_is_redirected_by_path_alone"])),
    // 6 NPH
    (110, Shown("its own status line; the connection lives on, because the answer is framed anew", &["nph::a_status_line_of_its_own_is_parsed_and_framed_anew"])),
    (111, Shown("parsed and framed anew, without the prefix as well", &["nph::a_status_line_of_its_own_is_parsed_and_framed_anew", "nph::a_bad_status_line_is_502"])),
    // 7 Process and streaming
    (112, Shown("at once", &["streaming::every_write_is_forwarded_at_once", "streaming::the_first_octet_arrives_before_the_script_ends"])),
    (113, Shown("bounded in both directions", &["streaming::a_client_that_does_not_read_stops_the_script_and_not_the_servers_memory", "streaming::a_script_that_does_not_read_stops_the_client_and_not_the_servers_memory"])),
    (114, Shown("at once", &["leaving::hanging_up_kills_the_whole_group_of_a_silent_script", "leaving::leaving_is_seen_behind_a_pipelined_request"])),
    (115, Shown("TERM to all of them, KILL after `grace`", &["leaving::who_ignores_term_is_killed_after_the_grace", "leaving::grandchildren_in_sessions_of_their_own_end_too", "leaving::term_comes_first_and_leaves_time_to_tidy_up"])),
    (116, Shown("`kill-on-disconnect = false`", &["leaving::a_script_may_be_allowed_to_finish_without_its_client"])),
    (117, Shown("504 before the head, broken off after", &["streaming::no_header_in_time_is_504_and_ends_the_script", "streaming::a_script_that_falls_silent_is_broken_off", "streaming::a_script_that_never_ends_is_broken_off"])),
    (118, Shown("one second", &["processes::a_child_that_holds_the_output_does_not_hold_the_answer"])),
    (119, Shown("survives, for as long as the route's `timeout`", &["processes::a_proper_daemon_survives_its_request"])),
    (120, Shown("exit codes are delivered and logged, with or without a length, as every server does for scripts that end with `exit 1`; a signal breaks the answer off", &["processes::a_failing_exit_after_a_whole_answer_is_delivered_and_logged", "processes::a_crash_in_mid_answer_is_visible_to_the_client", "processes::a_crash_is_visible_even_to_http_1_0"])),
    (121, Shown("all defaults, empty mask", &["processes::signals_are_as_a_fresh_login_has_them"])),
    (122, Shown("none", &["processes::a_script_has_three_descriptors"])),
    (123, Shown("the script's own", &["processes::a_script_works_in_its_own_folder"])),
    (124, Shown("concurrently, line by line, bounded", &["processes::standard_error_is_logged_line_by_line", "processes::a_flood_on_standard_error_blocks_nobody_and_is_bounded"])),
    (125, Shown("500, the cause and a hint in the log", &["finding::a_missing_interpreter_is_500_and_named", "finding::a_shebang_that_ends_in_cr_is_500_and_named", "finding::a_text_without_shebang_is_500_and_named", "finding::a_program_of_another_machine_is_500", "finding::the_wrong_x_bit_is_500_and_named"])),
    (126, Shown("404, 403, 403; the folder of a route has its 301, folders below it have not", &["finding::a_missing_script_is_404", "finding::a_folder_is_403", "finding::no_spelling_shows_the_text_of_a_script"])),
    (127, Shown("followed; refused under `symlinks = \"beneath\"`", &["finding::links_are_followed_and_change_no_right", "finding::links_that_leave_can_be_refused"])),
    (128, Shown("400", &["finding::nothing_climbs_above_the_root"])),
    (129, Shown("as published; a climb is 400", &["python::paths_collapse_as_python_published"])),
    (130, Shown("the same script", &["finding::every_spelling_of_the_folder_reaches_the_same_script"])),
    (131, Shown("where listed", &["finding::a_script_folder_below_another_works_where_listed"])),
    (132, Shown("impossible", &["finding::no_spelling_shows_the_text_of_a_script", "routes::a_file_of_a_script_folder_is_no_file_of_another_route"])),
    (133, Shown("a queue, then 503", &["limits::beyond_the_running_some_wait_and_the_rest_are_503"])),
    (134, Shown("drained up to `drain`", &["draining::what_runs_may_finish", "draining::draining_takes_no_longer_than_the_operator_says"])),
    // 8 WebSocket
    (135, Shown("426 with the version we speak; 400 for a bad key", &["websocket::opening::statement_135_the_handshake_is_checked"])),
    (136, Shown("that of CGI, with HTTP_UPGRADE and UNIQUE_ID", &["websocket::opening::statements_136_and_145_the_environment_is_that_of_cgi"])),
    (137, Shown("a line is a message, both ways", &["websocket::messages::statement_137_lines_and_messages"])),
    (138, Shown("sent", &["websocket::messages::statement_138_the_last_line_needs_no_end"])),
    (139, Shown("split into lines", &["websocket::messages::statement_139_a_message_of_two_lines"])),
    (140, Shown("replaced by U+FFFD", &["websocket::messages::statement_140_bad_utf8_never_goes_out"])),
    (141, Shown("1000, 1011 with a reason; end of input, TERM, KILL", &["websocket::ending::statement_141_how_it_ends"])),
    (142, Shown("1009", &["websocket::messages::statement_142_messages_have_a_limit_both_ways"])),
    (143, Shown("chosen from the route's list, otherwise none", &["websocket::opening::statement_143_sub_protocols"])),
    (144, Shown("checked by default", &["websocket::opening::statement_144_other_pages_stay_out"])),
    (145, Shown("as for CGI", &["websocket::opening::statements_136_and_145_the_environment_is_that_of_cgi"])),
    (146, Shown("whoever does not read stops the other; memory is bounded", &["websocket::cost::statement_146_whoever_does_not_read_stops_the_other"])),
    (147, Shown("pings; a dead peer's script ends", &["websocket::ending::statement_147_a_dead_peer_is_found"])),
    (148, Shown("the same scripts", &["websocket::http2::statement_148_over_http2"])),
    // 9 FastCGI, SCGI
    (149, Elsewhere("FastCGI is not built yet.")),
    (150, Elsewhere("FastCGI is not built yet.")),
    (151, Elsewhere("FastCGI is not built yet.")),
    (152, Elsewhere("FastCGI is not built yet.")),
    (153, Elsewhere("FastCGI is not built yet.")),
    (154, Elsewhere("SCGI is not built yet.")),
    (155, Elsewhere("Neither FastCGI nor SCGI is built yet.")),
    // 10 Static and ajax side
    (156, Shown("If-None-Match first", &["files::conditions_in_their_order"])),
    (157, Shown("206, and 416 with the length", &["files::ranges"])),
    (158, Shown("301 by path alone, query kept", &["redirects::a_folder_without_its_slash_is_redirected_by_path_alone"])),
    (159, Shown("404", &["files::a_file_is_no_folder"])),
    (160, Shown("hidden but for /.well-known/", &["files::dot_files_are_hidden_but_for_well_known"])),
    (161, Shown("405 with Allow", &["files::other_methods_are_405_with_allow"])),
    (162, Shown("all of it", &["ajax::head_options_and_wrong_methods", "ajax::the_time_in_three_ways"])),
    (163, Shown("octets after decoding; the document is held, up to 1 MiB, because its member `input` is counted", &["ajax::posted_input_is_counted_in_characters_and_octets", "ajax::chunked_input_is_counted_after_decoding", "ajax::too_much_input_is_413"])),
    // 11 Further points of the RFC
    (164, Shown("before anything starts", &["routes::credentials_come_before_any_process"])),
    (165, Shown("leads back", &["variables::the_url_leads_back_to_the_same_script"])),
    (166, Shown("a body of known length streams", &["bodies::the_script_may_start_before_the_body_is_there"])),
    (167, Shown("used where the client has gone", &["leaving::hanging_up_kills_the_whole_group_of_a_silent_script"])),
    (168, Shown("undecoded", &["bodies::a_coded_body_is_left_as_it_is"])),
    (169, Shown("UNIQUE_ID (Apache's) and X_STATE_DIRECTORY", &["variables::a_plain_get_has_exactly_these_variables"])),
    (170, Shown("every case of CGIHTTPServerTestCase", &["python::headers_and_content", "python::issue_19435_a_long_path_to_nothing", "python::post_of_a_form", "python::an_invalid_uri_is_not_found", "python::authorization_does_no_harm", "python::a_target_without_its_slash_is_taken_as_python_took_it", "python::the_environment_of_the_server_is_not_altered", "python::escapes_in_the_folders_name", "python::issue_21323_a_script_in_a_sub_folder", "python::queries_with_question_marks_and_slashes", "finding::a_script_folder_below_another_works_where_listed", "python::accept_fields_are_joined", "python::paths_collapse_as_python_published"])),
];

#[test]
fn every_statement_stands_in_the_table_once() {
    let numbers: Vec<usize> = TABLE.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=STATEMENTS).collect::<Vec<_>>());
}

#[test]
fn every_statement_says_what_we_do_or_why_not() {
    for (number, statement) in TABLE {
        match statement {
            Shown(what, tests) => assert!(!what.is_empty() && !tests.is_empty(), "{number}"),
            Elsewhere(why) => assert!(why.len() > 10 && why.ends_with('.'), "{number}: one sentence"),
        }
    }
}

#[test]
fn every_named_test_is_there() {
    let list = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["--list", "--format", "terse"])
        .output()
        .expect("this program lists its tests");
    let list = String::from_utf8(list.stdout).expect("text");
    let known: Vec<&str> = list.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    assert!(known.contains(&"conformance::every_named_test_is_there"), "{list}");
    let named = TABLE.iter().filter_map(|(number, statement)| match statement {
        Shown(_, tests) => Some(tests.iter().map(move |test| (number, test))),
        Elsewhere(_) => None,
    });
    let missing: Vec<_> = named.flatten().filter(|(_, test)| !known.contains(test)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}
