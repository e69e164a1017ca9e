//! `hitless man`: one page, made of the command line's own definition. Names no page that there is not.

use std::io::{self, Write};

use clap::{Arg, Command as Words};

/// What stands at the end of the page, for all commands.
const EXIT_STATUS: [(&str, &str); 5] = [
    ("0", "Done."),
    (
        "1",
        "It failed: it could not start, a reload did not go live, or status has something to complain of.",
    ),
    ("2", "The command line is wrong."),
    ("3", "No running hitless was found."),
    ("78", "The configuration is invalid."),
];

/// The variables that are not those of an option.
const VARIABLES: [(&str, &str); 3] = [
    ("NO_COLOR", "If set and not empty, the log has no colour."),
    (
        "RUNTIME_DIRECTORY",
        "The folder of the control socket, as systemd names it.",
    ),
    (
        "XDG_RUNTIME_DIR",
        "Without it: the folder below which that of the control socket is, unless root asks.",
    ),
];

const EXAMPLES: &str = "\
hitless run -- python3 app.py
hitless reload
hitless status
hitless check -c hitless.toml && hitless run -c hitless.toml";

/// The whole page for this command line, which is built.
pub(super) fn page(all: &Words) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(all.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    writeln!(page, ".SH COMMANDS")?;
    for command in commands(all) {
        let about = command.get_about().map(ToString::to_string);
        item(
            &mut page,
            &format!("hitless {}", command.get_name()),
            &about.unwrap_or_default(),
        )?;
    }
    for command in commands(all) {
        section(&mut page, command)?;
    }
    writeln!(page, ".SH EXAMPLES")?;
    unfilled(&mut page, EXAMPLES)?;
    writeln!(page, ".SH \"EXIT STATUS\"")?;
    for (status, meaning) in EXIT_STATUS {
        item(&mut page, status, meaning)?;
    }
    writeln!(page, ".SH ENVIRONMENT")?;
    environment(&mut page, all)?;
    man.render_version_section(&mut page)?;
    Ok(page)
}

fn commands(all: &Words) -> impl Iterator<Item = &Words> {
    all.get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

/// All about one command, with its parts as parts of it.
fn section(page: &mut Vec<u8>, command: &Words) -> io::Result<()> {
    let name = command.get_name().to_uppercase();
    writeln!(page, ".SH \"HITLESS {name}\"")?;
    let man = clap_mangen::Man::new(command.clone());
    let mut parts = Vec::new();
    man.render_description_section(&mut parts)?;
    man.render_synopsis_section(&mut parts)?;
    man.render_options_section(&mut parts)?;
    for line in String::from_utf8_lossy(&parts).lines() {
        match line.strip_prefix(".SH ") {
            Some("DESCRIPTION") => {}
            Some(title) => writeln!(page, ".SS {title}")?,
            None => writeln!(page, "{line}")?,
        }
    }
    let after = command.get_after_long_help();
    let after = after.or_else(|| command.get_after_help());
    remarks(page, &after.map(ToString::to_string).unwrap_or_default())
}

/// What stands behind the options in the help: examples as they are, the rest as text.
fn remarks(page: &mut Vec<u8>, text: &str) -> io::Result<()> {
    for paragraph in text.split("\n\n") {
        let (first, rest) = paragraph.split_once('\n').unwrap_or((paragraph, ""));
        if first.ends_with(':') && rest.starts_with("  ") {
            writeln!(
                page,
                ".SS {}",
                quoted(&first.trim_end_matches(':').to_uppercase())
            )?;
            unfilled(page, rest)?;
        } else if paragraph.starts_with("  ") {
            unfilled(page, paragraph)?;
        } else {
            sentences(page, paragraph)?;
        }
    }
    Ok(())
}

/// A paragraph; one that tells exit statuses has a title.
fn sentences(page: &mut Vec<u8>, paragraph: &str) -> io::Result<()> {
    writeln!(page, ".PP")?;
    for line in paragraph.lines() {
        match line.strip_prefix("Exit status: ") {
            Some(rest) => writeln!(page, ".SS \"EXIT STATUS\"\n{}", escaped(rest))?,
            None => writeln!(page, "{}", escaped(line))?,
        }
    }
    Ok(())
}

/// Lines that stay lines.
fn unfilled(page: &mut Vec<u8>, text: &str) -> io::Result<()> {
    writeln!(page, ".nf")?;
    for line in text.lines() {
        writeln!(page, "{}", escaped(line.strip_prefix("  ").unwrap_or(line)))?;
    }
    writeln!(page, ".fi")
}

fn environment(page: &mut Vec<u8>, all: &Words) -> io::Result<()> {
    let run = all.find_subcommand("run");
    for option in run.into_iter().flat_map(Words::get_arguments) {
        if let (Some(variable), Some(long)) = (variable(option), option.get_long()) {
            item(page, &variable, &format!("As --{long}, which beats it."))?;
        }
    }
    for (variable, meaning) in VARIABLES {
        item(page, variable, meaning)?;
    }
    Ok(())
}

fn variable(option: &Arg) -> Option<String> {
    let variable = option.get_env()?;
    Some(variable.to_string_lossy().into_owned())
}

fn item(page: &mut Vec<u8>, term: &str, meaning: &str) -> io::Result<()> {
    writeln!(page, ".TP\n\\fB{}\\fR\n{}", escaped(term), escaped(meaning))
}

/// The argument of a request.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text).replace('"', "\\(dq"))
}

/// Text that means nothing to the formatter but itself.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut page = Vec::new();
        remarks(&mut page, text).unwrap();
        String::from_utf8(page).unwrap()
    }

    #[test]
    fn examples_stay_lines_and_statuses_have_a_title() {
        let text =
            "Examples:\n  hitless a --b\n  .c   two\n\nSome text.\nExit status: 0 done,\n1 not.";
        assert_eq!(
            shown(text),
            ".SS \"EXAMPLES\"\n.nf\nhitless a \\-\\-b\n\\&.c   two\n.fi\n.PP\nSome text.\n\
             .SS \"EXIT STATUS\"\n0 done,\n1 not.\n"
        );
    }

    #[test]
    fn nothing_is_taken_for_a_request() {
        assert_eq!(escaped(".x"), "\\&.x");
        assert_eq!(escaped("'x"), "\\&'x");
        assert_eq!(escaped("a\\b"), "a\\eb");
    }
}
