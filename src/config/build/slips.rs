//! Slips in a command: what is allowed, and yet surely not what was meant. Looks at the machine that it runs on, and so only
//! ever warns: what is not there now may be there when the app is started.

use std::ffi::OsStr;
use std::ops::Range;
use std::path::Path;

use crate::config::problem::Problem;
use crate::control_plane::process;

/// What is filled in.
const PLACEHOLDERS: [&str; 4] = ["port", "socket", "generation", "instance"];

/// Who expands variables.
const SHELLS: [&str; 8] = ["sh", "bash", "dash", "zsh", "ksh", "ash", "fish", "busybox"];

/// Warns of each slip in what starts this app, which stands there in the file, or was said by flags.
pub(super) fn look(
    app: &str,
    config: &process::Config,
    place: Option<&Range<usize>>,
    warnings: &mut Vec<Problem>,
) {
    let warning = |message: String| Problem::new(place.cloned(), message);
    if let Some(obstacle) = process::no_program(config) {
        warnings.push(warning(format!("`app.{app}` would not start: {obstacle}")));
    }
    let command = &config.command;
    let by_shell = command
        .iter()
        .any(|part| SHELLS.iter().any(|shell| is_program(part, shell)));
    let variable = command.iter().find_map(|part| variable(part));
    if let Some((variable, meant)) = variable.filter(|_| !by_shell) {
        let message = format!("{variable} is not expanded here: no shell reads this command");
        warnings.push(warning(message).help(format!(
            "write {meant}; the app also finds it in its environment"
        )));
    }
    for part in command {
        if let Some((written, meant)) = misspelt(part) {
            let message = format!("`{{{written}}}` is not filled in");
            let known = PLACEHOLDERS.map(|name| format!("{{{name}}}")).join(" ");
            let help = format!("did you mean `{{{meant}}}`? Filled in are {known}");
            warnings.push(warning(message).help(help));
        }
    }
    if let Some(reloader) = reloader(command) {
        let message = format!("{reloader}: the app would start itself anew behind hitless's back");
        warnings.push(warning(message).help(
            "turn it off: `hitless reload` does it without a refused connection, and `watch.paths` on every save",
        ));
    }
}

/// Whether a word of a command is this program, by its name or its path.
fn is_program(part: &str, program: &str) -> bool {
    Path::new(part).file_name() == Some(OsStr::new(program))
}

/// A variable as a shell expands it, with what is filled in instead.
fn variable(part: &str) -> Option<(&'static str, &'static str)> {
    let known = [("$PORT", "{port}"), ("${PORT}", "{port}")];
    known.into_iter().find(|(written, _)| {
        let behind = part.split_once(written).map(|(_, behind)| behind);
        let goes_on = |char: char| char == '_' || char.is_ascii_alphanumeric();
        behind.is_some_and(|behind| written.ends_with('}') || !behind.starts_with(goes_on))
    })
}

/// A word in braces that is nearly one that is filled in.
fn misspelt(part: &str) -> Option<(&str, &'static str)> {
    part.match_indices('{').find_map(|(start, _)| {
        let (word, _) = part[start + 1..].split_once('}')?;
        let is_word = word
            .bytes()
            .all(|byte| byte == b'_' || byte.is_ascii_alphabetic());
        // A variable of a shell.
        let is_variable = part[..start].ends_with('$');
        if !is_word || is_variable || PLACEHOLDERS.contains(&word) {
            return None;
        }
        let lower = word.to_ascii_lowercase();
        let near = |name: &&str| strsim::damerau_levenshtein(&lower, name) <= name.len() / 4;
        Some((word, PLACEHOLDERS.into_iter().find(near)?))
    })
}

/// What has the app start itself anew when a file changes.
fn reloader(command: &[String]) -> Option<&str> {
    let program = command.first()?;
    if is_program(program, "nodemon") {
        return Some(program);
    }
    let of_node = ["node", "tsx", "bun", "deno"]
        .iter()
        .any(|node| is_program(program, node));
    let mut arguments = command.iter().skip(1).map(String::as_str);
    arguments.find(|argument| {
        let (option, value) = argument.split_once('=').unwrap_or((argument, "true"));
        let is_on = matches!(
            value.to_ascii_lowercase().as_str(),
            "true" | "1" | "yes" | "on"
        );
        match option {
            "--reload" | "--autoreload" => is_on,
            "--watch" => of_node && is_on,
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_one_that_a_shell_would_expand() {
        for part in ["$PORT", "--port=$PORT", "a:${PORT}/b", "$PORT,"] {
            assert!(variable(part).is_some(), "{part}");
        }
        for part in ["PORT", "$PORTS", "$PORT_2", "{port}", "$port"] {
            assert_eq!(variable(part), None, "{part}");
        }
    }

    #[test]
    fn only_a_word_that_is_nearly_right_is_misspelt() {
        for (part, meant) in [
            ("{PORT}", "port"),
            ("--port={prot}", "port"),
            ("unix:{sockets}", "socket"),
            ("{generaton}", "generation"),
            ("{port}:{instanse}", "instance"),
        ] {
            assert_eq!(
                misspelt(part).map(|(_, meant)| meant),
                Some(meant),
                "{part}"
            );
        }
        for part in [
            "{port}",
            "{socket}",
            "${PORT}",
            "{print}",
            "{name}",
            "{}",
            "{\"port\": 1}",
            "{a-b}",
            "{",
            "}{",
        ] {
            assert_eq!(misspelt(part), None, "{part}");
        }
    }

    #[test]
    fn reloaders_are_known_by_their_words() {
        let found = |command: &[&str]| {
            let command: Vec<_> = command.iter().map(|part| (*part).to_owned()).collect();
            reloader(&command).map(ToOwned::to_owned)
        };
        assert!(found(&["uvicorn", "--reload", "app:app"]).is_some());
        assert!(found(&["python3", "app.py", "--autoreload=True"]).is_some());
        assert!(found(&["/usr/bin/node", "--watch", "server.js"]).is_some());
        assert!(found(&["nodemon", "server.js"]).is_some());
        assert_eq!(found(&["python3", "app.py", "--autoreload=false"]), None);
        assert_eq!(found(&["./server", "--watch", "data"]), None);
        assert_eq!(found(&["--reload"]), None);
    }
}
