//! The page that explains a failed script to its author. Works without JavaScript; everything in it is escaped.

use http::StatusCode;
use maud::{DOCTYPE, Markup, html};

use super::Story;

const STYLE: &str = "body{font:1rem/1.5 system-ui,sans-serif;margin:3rem auto;max-width:52rem;padding:0 1rem}\
h1{margin-bottom:.2rem}h2{font-size:1.05rem;margin:1.6rem 0 .3rem}code,pre{font:.9rem/1.45 ui-monospace,monospace}\
pre{background:light-dark(#f4f4f2,#222);border-radius:.4rem;padding:.6rem .8rem;overflow:auto;white-space:pre-wrap;\
overflow-wrap:anywhere;margin:.3rem 0}.cause{border-left:.3rem solid #c33;padding:.1rem 0 .1rem 1rem;margin:1.2rem 0}\
.cause.also{border-color:#999}table{border-collapse:collapse;width:100%}td{vertical-align:top;padding:.1rem .6rem .1rem 0;\
overflow-wrap:anywhere}td:first-child{white-space:nowrap;width:1%}.dim{opacity:.7}";

/// The page. `text` is the sentence that every client may read.
pub fn render(story: &Story, status: StatusCode, text: &str, slug: &str, id: &str) -> String {
    let reason = status.canonical_reason().unwrap_or("Error");
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Error response" }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                h1 { "Error response" }
                p { "Error code: " (status.as_u16()) }
                p { "Message: " (reason) "." }
                p { "Error code explanation: " (status.as_u16()) " - " (text) }
                p { code { (slug) " · " (id) } }
                (causes(story))
                (what_it_said(story))
                (how_it_ran(story))
                p class="dim" { "Only clients on this machine see these details (" code { "explain" } " in cgiserve.toml). \
                    Later: " code { "cgiserve why " (id) } }
            }
        }
    }
    .into_string()
}

fn causes(story: &Story) -> Markup {
    html! {
        @for (n, diagnosis) in story.causes.iter().enumerate() {
            div.cause.also[n > 0] {
                p { strong { (diagnosis.what) } " " code.dim { (diagnosis.cause.slug()) } }
                p { (diagnosis.fix) }
                pre { (diagnosis.command) }
            }
        }
    }
}

fn what_it_said(story: &Story) -> Markup {
    html! {
        @if !story.stderr.trim().is_empty() {
            h2 { "Standard error" }
            pre { (story.stderr) }
        }
        @if !story.output.is_empty() {
            h2 { "The beginning of its output" }
            pre { @for line in &story.output { (line) "\n" } }
        }
        @if let Some(exit) = &story.exit {
            p { "The program " (exit) ", after " (format!("{:.1?}", story.took)) "."
                @if let Some(usage) = story.usage {
                    " Processor: " (format!("{:.1?}", usage.cpu)) ", memory: " (usage.peak_rss_kib / 1024) " MiB."
                }
            }
        }
    }
}

fn how_it_ran(story: &Story) -> Markup {
    html! {
        @if !story.argv.is_empty() {
            h2 { "How it was run" }
            table {
                tr { td { "Arguments" } td { code { (story.argv.join(" ")) } } }
                tr { td { "Folder" } td { code { (story.folder) } } }
            }
            details {
                summary { "Environment" }
                table {
                    @for (name, value) in &story.environment {
                        tr { td { code { (name) } } td { code { (value) } } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::Cause;

    #[test]
    fn what_a_script_says_stays_text() {
        let mut story = Story { script: "/x".into(), argv: vec!["<b>".into()], ..Story::default() };
        story.set_stderr(b"<script>alert(1)</script>\x1b[31m");
        story.set_output(b"Set-Cookie: sid=77\n<img onerror=x>\n");
        story.causes.push(Cause::HeaderLineWithoutColon.because(&[("file", "/<i>"), ("line", "<svg onload=x>")]));
        let page = render(&story, StatusCode::BAD_GATEWAY, "text", "slug", "id");
        for bad in ["<script>", "<img", "<svg", "<i>", "<b>", "\x1b", "sid=77"] {
            assert!(!page.contains(bad), "{bad:?}");
        }
        assert!(page.contains("&lt;script&gt;alert(1)") && page.contains("header-line-without-colon"));
    }
}
