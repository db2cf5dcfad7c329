//! The live view as a page: plain tables, which a few lines of JavaScript keep fresh.

use std::sync::atomic::Ordering;
use std::time::Duration;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::pulse::SECONDS;
use crate::app::App;

const STYLE: &str = "body{font:1rem/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}\
h1{font-size:1.4rem}h2{font-size:1.05rem;margin:1.8rem 0 .4rem}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.25rem .8rem .25rem 0;border-bottom:1px solid light-dark(#ddd,#444);vertical-align:top}\
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}code,pre{font:.85rem ui-monospace,monospace}\
pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;max-width:28rem;max-height:6rem;overflow:auto}\
.tiles{display:flex;flex-wrap:wrap;gap:2rem}.tile b{display:block;font-size:1.6rem;font-variant-numeric:tabular-nums}\
.bad{color:light-dark(#b00,#f77)}svg{width:100%;height:6rem;display:block}.all{fill:light-dark(#3a7bd5,#6aa5ff)}\
.err{fill:light-dark(#c33,#f66)}.axis{fill:currentColor;font-size:10px;opacity:.7}form{margin:0}.dim{opacity:.7}";

const SCRIPT: &str = "const live=document.getElementById('live');\
const source=new EventSource(live.dataset.events);source.onmessage=e=>{live.innerHTML=e.data};";

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
    html! {
        div.tiles {
            (tile("running", running))
            (tile("of at most", app.config.admission.capacity()))
            (tile("queued", queued))
            (tile("WebSockets", app.config.websockets.load().0))
            div.tile { b { (age(app.started.elapsed())) } "up" }
        }
        h2 { "Scripts ended, each second of the last minute" }
        (chart(&app.live.pulse.minute()))
        (now(app, token))
        (histories(app))
    }
    .into_string()
}

fn tile(name: &str, number: usize) -> Markup {
    html! { div.tile { b { (number) } (name) } }
}

fn now(app: &App, token: Option<&str>) -> Markup {
    let all = app.live.now();
    html! {
        h2 { "Running and queued" }
        @if all.is_empty() { p.dim { "Nothing at the moment." } } @else {
            table {
                tr { th { "Script" } th { "Client" } th.n { "Process" } th.n { "Age" } th.n { "Octets" } th { "State" } th {} }
                @for live in &all {
                    @let context = live.context();
                    @let pid = context.as_ref().map_or(0, |context| context.pid.load(Ordering::Relaxed));
                    @let octets = context.as_ref().map_or(0, |context| context.record.sent());
                    tr {
                        td { code { (live.script) } }
                        td { (live.client) }
                        td.n { @if pid != 0 { (pid) } }
                        td.n { (age(live.since.elapsed())) }
                        td.n { (octets) }
                        td {
                            @if !live.running.load(Ordering::Relaxed) { "queued" }
                            @else if context.as_ref().is_some_and(|context| context.record.end_asked()) { "ending" }
                            @else if octets > 0 { "answering" } @else { "working" }
                        }
                        td {
                            @if context.is_some() {
                                form method="post" action=(format!("/status/end?id={}{}", live.id, with_token(token, '&'))) {
                                    button { "end it" }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn histories(app: &App) -> Markup {
    html! {
        h2 { "Scripts" }
        table {
            tr { th { "Script" } th.n { "Count" } th.n { "Errors" } th.n { "p50" } th.n { "p95" } th { "Last words on standard error" } }
            @for (name, history) in app.live.histories() {
                tr {
                    td { code { (name) } }
                    td.n { (history.count) }
                    td.n.bad[history.errors > 0] { (history.errors) }
                    td.n { (format!("{:.1?}", history.percentile(0.5))) }
                    td.n { (format!("{:.1?}", history.percentile(0.95))) }
                    td { @if !history.last_words.is_empty() { pre { (history.last_words) } } }
                }
            }
        }
    }
}

/// Bars, one a second; the part that failed in another colour. The scale stands beside them.
fn chart(minute: &[(u32, u32); SECONDS]) -> Markup {
    let most = minute.iter().map(|(all, _)| *all).max().unwrap_or(0).max(1);
    let height = |count: u32| f64::from(count) / f64::from(most) * 80.0;
    html! {
        svg viewBox="0 0 640 100" preserveAspectRatio="none" role="img" aria-label=(format!("at most {most} a second")) {
            @for (n, (all, errors)) in minute.iter().enumerate() {
                @let x = 30 + n * 10;
                rect.all x=(x) y=(format!("{:.1}", 85.0 - height(*all))) width="8" height=(format!("{:.1}", height(*all))) {}
                rect.err x=(x) y=(format!("{:.1}", 85.0 - height(*errors))) width="8" height=(format!("{:.1}", height(*errors))) {}
            }
            text.axis x="0" y="12" { (most) }
            text.axis x="0" y="85" { "0" }
            text.axis x="30" y="98" { "60 s ago" }
            text.axis x="610" y="98" { "now" }
        }
    }
}

/// The token as a parameter, where one is needed.
pub(super) fn with_token(token: Option<&str>, mark: char) -> String {
    let encode = |token| percent_encoding::utf8_percent_encode(token, percent_encoding::NON_ALPHANUMERIC).to_string();
    token.map(|token| format!("{mark}token={}", encode(token))).unwrap_or_default()
}

fn age(age: Duration) -> String {
    match age.as_secs() {
        0..60 => format!("{:.1} s", age.as_secs_f64()),
        seconds @ 60..3600 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        seconds => format!("{}:{:02} h", seconds / 3600, seconds % 3600 / 60),
    }
}
