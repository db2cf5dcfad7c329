//! What a rehearsal prints.

use std::io::{self, Write};

use super::Answer;
use crate::explain::Story;

/// The answer: status line, fields, blank line; and the body, unless the server wrote it in place of the script.
pub(super) fn answer(answer: &Answer, own: bool, out: &mut impl Write) -> io::Result<()> {
    // A broken answer is one that a client must not take for a short one.
    if answer.status == 0 {
        return writeln!(out, "(the connection was closed before any answer)");
    }
    writeln!(out, "HTTP/1.1 {} {}", answer.status, answer.reason)?;
    for (name, value) in &answer.fields {
        out.write_all(name.as_bytes())?;
        out.write_all(b": ")?;
        out.write_all(value)?;
        out.write_all(b"\n")?;
    }
    out.write_all(b"\n")?;
    if own {
        out.write_all(&answer.body)?;
    }
    out.flush()
}

/// What became of each script; more of it on request.
pub(super) fn stories(stories: &[Story], verbose: bool, out: &mut impl Write) -> io::Result<()> {
    for story in stories {
        if verbose {
            details(story, out)?;
        }
        for diagnosis in &story.causes {
            writeln!(out, "\n{diagnosis}")?;
        }
        if !verbose && !story.stderr.trim().is_empty() {
            writeln!(out, "\nStandard error:")?;
            indented(&story.stderr, out)?;
        }
        // A script that fails behind its header has an answer all the same.
        if let Some(exit) =
            story.exit.as_ref().filter(|exit| !verbose && story.causes.is_empty() && !exit.ends_with("status 0"))
        {
            writeln!(out, "\nThe program {exit}.")?;
        }
    }
    out.flush()
}

fn details(story: &Story, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\nScript:    {}", story.script)?;
    if story.argv.is_empty() {
        return Ok(());
    }
    writeln!(out, "Arguments: {}", story.argv.join(" "))?;
    writeln!(out, "Folder:    {}", story.folder)?;
    writeln!(out, "Exit:      {}", story.exit.as_deref().unwrap_or("still running"))?;
    match story.usage {
        Some(usage) => writeln!(
            out,
            "Times:     {:.1?} from start to end, {:.1?} of processor, answer's header after {:.1?}; {} KiB of memory",
            usage.wall, usage.cpu, story.took, usage.peak_rss_kib
        )?,
        None => writeln!(out, "Times:     {:.1?}", story.took)?,
    }
    if !story.head.is_empty() {
        writeln!(out, "Header as understood:")?;
        indented(&story.head.join("\n"), out)?;
    }
    writeln!(out, "Environment:")?;
    for (name, value) in &story.environment {
        writeln!(out, "  {name}={value}")?;
    }
    if !story.output.is_empty() {
        writeln!(out, "Output that was refused:")?;
        indented(&story.output.join("\n"), out)?;
    }
    writeln!(out, "Standard error:")?;
    indented(&story.stderr, out)
}

fn indented(text: &str, out: &mut impl Write) -> io::Result<()> {
    text.lines().try_for_each(|line| writeln!(out, "  {line}"))
}
