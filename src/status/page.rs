//! The live view as a page: plain tables, which a few lines of JavaScript keep fresh.

use std::sync::atomic::Ordering;
use std::time::Duration;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::live::Live;
use super::pulse::SECONDS;
use crate::app::App;

const STYLE: &str = "body{font:1rem/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}\
h1{font-size:1.4rem}h2{font-size:1.05rem;margin:1.8rem 0 .4rem}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.25rem .7rem;border-bottom:1px solid light-dark(#ddd,#444);vertical-align:top}\
th:first-child,td:first-child{padding-left:0}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}code,pre{font:.85rem ui-monospace,monospace}\
pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;max-width:28rem;max-height:6rem;overflow:auto}\
.tiles{display:flex;flex-wrap:wrap;gap:2rem}.tile b{display:block;font-size:1.6rem;font-variant-numeric:tabular-nums}\
.bad{color:light-dark(#b00,#f77)}.dim,.chart span{opacity:.7}form{margin:0}button{font:inherit;font-size:.9rem}\
.wide{overflow-x:auto}\
.chart{display:grid;grid-template:7rem auto/auto 1fr;gap:.2rem .6rem;font-size:.85rem;font-variant-numeric:tabular-nums}\
.chart svg{width:100%;height:100%;border-bottom:1px solid light-dark(#aaa,#777);background:light-dark(#f6f6f4,#222)}\
.chart div{display:flex;justify-content:space-between}.chart .y{flex-direction:column;text-align:right;line-height:1}\
.chart .x{grid-column:2}.all{fill:light-dark(#3a7bd5,#6aa5ff)}.err{fill:light-dark(#c33,#f66)}";

const SCRIPT: &str = "const live=document.getElementById('live');\
const source=new EventSource(live.dataset.events);source.onmessage=e=>{if(!live.querySelector('button:active'))live.innerHTML=e.data};";

/// The whole page.
pub(super) fn whole(app: &App, token: Option<&str>, nonce: &str) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Without JavaScript the page comes again by itself.
                noscript { meta http-equiv="refresh" content="5"; }
                title { "cgiserve: status" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "cgiserve: what is running" }
                div #live data-events=(format!("/status/events{}", with_token(token, '?'))) {
                    (PreEscaped(tables(app, token)))
                }
                script nonce=(nonce) { (PreEscaped(SCRIPT)) }
            }
        }
    }
    .into_string()
}

/// What changes.
pub(super) fn tables(app: &App, token: Option<&str>) -> String {
    let (running, queued) = app.config.admission.load();
    let (requests, failed, octets) = app.metrics.totals();
    html! {
        div.tiles {
            (tile(&format!("running, of at most {}", app.config.admission.capacity()), &running.to_string(), false))
            (tile("queued", &queued.to_string(), false))
            (tile("WebSockets", &app.config.websockets.load().0.to_string(), false))
            (tile("requests", &requests.to_string(), false))
            (tile("of them 5xx", &failed.to_string(), failed > 0))
            (tile("sent", &size(octets), false))
            (tile("up", &age(app.started.elapsed()), false))
        }
        h2 { "Scripts ended in each second of the last minute; red: failed" }
        (chart(&app.live.pulse.minute()))
        (now(app, token))
        (histories(app))
    }
    .into_string()
}

fn tile(name: &str, number: &str, bad: bool) -> Markup {
    html! { div.tile { b.bad[bad] { (number) } (name) } }
}

fn now(app: &App, token: Option<&str>) -> Markup {
    let all = app.live.now();
    html! {
        h2 { "Running and queued" }
        @if all.is_empty() { p.dim { "Nothing at the moment." } } @else {
            div.wide { table {
                tr { th { "Script" } th { "Client" } th.n { "Process" } th.n { "Age" } th.n { "Bytes" } th { "State" } th {} }
                @for live in &all { (row(live, token)) }
            } }
        }
    }
}

fn row(live: &Live, token: Option<&str>) -> Markup {
    let context = live.context();
    let pid = context.as_ref().map_or(0, |context| context.pid.load(Ordering::Relaxed));
    let talks = live.talks.load(Ordering::Relaxed);
    let octets = context.as_ref().map_or(0, |context| context.record.sent());
    let state = match octets {
        _ if live.is_ending() => "ending",
        _ if !live.running.load(Ordering::Relaxed) => "queued",
        _ if talks => "talking",
        0 => "working",
        _ => "answering",
    };
    html! {
        tr {
            td { code { (live.script) } }
            td { (live.client) }
            td.n { @if pid != 0 { (pid) } }
            td.n { (age(live.since.elapsed())) }
            // What goes over a WebSocket is not an answer, and not counted.
            td.n { @if !talks { (size(octets)) } }
            td { (state) }
            td {
                @if live.can_end() {
                    form method="post" action=(format!("/status/end?id={}{}", live.id, with_token(token, '&'))) {
                        button { "end it" }
                    }
                }
            }
        }
    }
}

fn histories(app: &App) -> Markup {
    let all = app.live.histories();
    html! {
        h2 { "Scripts" }
        @if all.is_empty() { p.dim { "None has run yet." } } @else {
            div.wide { table {
                tr { th { "Script" } th.n { "Count" } th.n { "Errors" } th.n { "p50" } th.n { "p95" } th { "Last words on standard error" } }
                @for (name, history) in all {
                    tr {
                        td { code { (name) } }
                        td.n { (history.count) }
                        td.n.bad[history.errors > 0] { (history.errors) }
                        td.n { (format!("{:.1?}", history.percentile(0.5))) }
                        td.n { (format!("{:.1?}", history.percentile(0.95))) }
                        td {
                            @let words = history.last_words();
                            @if !words.is_empty() { pre { (words) } }
                        }
                    }
                }
            } }
        }
    }
}

/// Bars, one a second; the part that failed in another colour. The drawing is stretched to the width there is, so the
/// words of the scale stand beside it.
fn chart(minute: &[(u32, u32); SECONDS]) -> Markup {
    let most = minute.iter().map(|(all, _)| *all).max().unwrap_or(0).max(1);
    let height = |count: u32| f64::from(count) / f64::from(most) * 100.0;
    html! {
        div.chart {
            div.y { span { (most) } span { "0" } }
            svg viewBox="0 0 600 100" preserveAspectRatio="none" role="img" aria-label=(format!("at most {most} a second")) {
                @for (n, (all, errors)) in minute.iter().enumerate() {
                    @for (class, count) in [("all", *all), ("err", *errors)] {
                        @if count > 0 {
                            rect class=(class) x=(n * 10 + 1) y=(format!("{:.1}", 100.0 - height(count)))
                                width="8" height=(format!("{:.1}", height(count))) {}
                        }
                    }
                }
            }
            div.x { span { "a minute ago" } span { "30 s ago" } span { "now" } }
        }
    }
}

/// The token as a parameter, where one is needed.
pub(super) fn with_token(token: Option<&str>, mark: char) -> String {
    let encode = |token| percent_encoding::utf8_percent_encode(token, percent_encoding::NON_ALPHANUMERIC).to_string();
    token.map(|token| format!("{mark}token={}", encode(token))).unwrap_or_default()
}

fn size(octets: u64) -> String {
    let mut number = octets as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if number < 1000.0 {
            return if unit == "B" { format!("{octets} B") } else { format!("{number:.1} {unit}") };
        }
        number /= 1024.0;
    }
    format!("{number:.1} TiB")
}

fn age(age: Duration) -> String {
    match age.as_secs() {
        0..60 => format!("{:.1} s", age.as_secs_f64()),
        seconds @ 60..3600 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        seconds => format!("{}:{:02} h", seconds / 3600, seconds % 3600 / 60),
    }
}
