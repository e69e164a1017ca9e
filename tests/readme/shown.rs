//! Whether a command showed what the README shows, figures apart that are other ones each time.

/// In the README, on a line of its own: whatever number of lines.
const ELLIPSIS: &str = "…";

/// The first line of the README that was not shown; none if all were, and nothing else.
pub(crate) fn missing(wanted: &[String], shown: &str) -> Option<String> {
    let wanted: Vec<_> = trimmed(wanted.iter().map(String::as_str));
    let shown: Vec<_> = trimmed(shown.lines());
    let mut rest = &shown[..];
    let mut anywhere = false;
    for line in &wanted {
        if line == ELLIPSIS {
            anywhere = true;
            continue;
        }
        let at = rest.iter().position(|shown| shown == line);
        match at {
            Some(at) if at == 0 || anywhere => rest = &rest[at + 1..],
            _ => return Some(line.clone()),
        }
        anywhere = false;
    }
    match rest.first() {
        Some(more) if !anywhere => Some(format!("the end, but more is shown: {more}")),
        _ => None,
    }
}

/// Masked, without empty lines at the end.
fn trimmed<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut lines: Vec<_> = lines.map(masked).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// With `#` for process ids, ports, durations and counts of requests, one space for several, and bare file names in
/// quotes. Generations, reloads, versions and exit statuses stay: the README is to be right about them.
fn masked(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    let mut masked = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| words.get(before));
        let after = words.get(index + 1);
        masked.push(masked_word(before.copied(), word, after.copied()));
    }
    // Indentation is a part of what is shown; columns move with the figures.
    let indent = line.len() - line.trim_start().len();
    " ".repeat(if is_row(&words) { 0 } else { indent }) + &masked.join(" ")
}

/// A line of `hitless status` about a generation: its number is flush right.
fn is_row(words: &[&str]) -> bool {
    words.first().is_some_and(|first| is_number(first))
}

fn masked_word(before: Option<&str>, word: &str, after: Option<&str>) -> String {
    let bare = word.trim_matches(['(', ')', ',', ':', ';']);
    let counted = after.is_some_and(|after| {
        ["request", "requests", "stream", "streams", "s", "s)", "s):"]
            .iter()
            .any(|unit| after.trim_end_matches(',') == *unit)
    });
    let volatile = is_duration(bare)
        || is_number(bare) && (counted || matches!(before, Some("pid" | "(process")));
    if volatile {
        return word.replace(bare, "#");
    }
    if let Some(port) = bare
        .strip_prefix("127.0.0.1:")
        .filter(|port| is_number(port))
    {
        return word.replace(port, "#");
    }
    match word.split('"').collect::<Vec<_>>()[..] {
        ["", path, rest] if path.starts_with('/') => {
            let name = path.rsplit('/').next().unwrap_or(path);
            format!("\"{name}\"{rest}")
        }
        _ => word.to_owned(),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// `0s`, `250ms`, `1m`; several in one word, too.
fn is_duration(text: &str) -> bool {
    let digits = text.chars().next().is_some_and(|c| c.is_ascii_digit());
    digits
        && text.ends_with(['s', 'm', 'h'])
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || ".msh".contains(c))
}

#[test]
fn figures_that_change_are_masked_and_others_are_not() {
    for (line, wanted) in [
        (
            "app: generation 2 is live after 0.25 s",
            "app: generation 2 is live after # s",
        ),
        (
            "hitless 0.1.0 (process 30793, 1m12s) on 127.0.0.1:8080, admin 127.0.0.1:9900",
            "hitless 0.1.0 (process #, #) on 127.0.0.1:#, admin 127.0.0.1:#",
        ),
        (
            "     1  live   12s  pid 30800  127.0.0.1:40983  3 requests, 0 streams",
            "1 live # pid # 127.0.0.1:# # requests, # streams",
        ),
        (
            "app: it was taken back: exited with status 1 while it served (2.35 s)",
            "app: it was taken back: exited with status 1 while it served (# s)",
        ),
        (
            "  on probation, 30s left; generation 1 stands by",
            "  on probation, # left; generation 1 stands by",
        ),
        (
            "      File \"/srv/hello/app.py\", line 4, in <module>",
            "      File \"app.py\", line 4, in <module>",
        ),
        ("hello from generation 1", "hello from generation 1"),
        ("1", "1"),
    ] {
        assert_eq!(masked(line), wanted);
    }
}

#[test]
fn every_line_is_wanted_in_its_place() {
    let wanted = |lines: &[&str]| {
        lines
            .iter()
            .map(|&line| line.to_owned())
            .collect::<Vec<_>>()
    };
    let all = "one\ntwo\nthree\n";
    assert_eq!(missing(&wanted(&["one", "two", "three"]), all), None);
    assert_eq!(missing(&wanted(&["…", "three"]), all), None);
    assert_eq!(missing(&wanted(&["one", "…"]), all), None);
    assert_eq!(missing(&wanted(&["…"]), ""), None);
    assert_eq!(
        missing(&wanted(&["one", "…", "two", "three", ""]), all),
        None
    );
    assert_eq!(
        missing(&wanted(&["one", "three"]), all),
        Some("three".to_owned())
    );
    assert_eq!(
        missing(&wanted(&["…", "four"]), all),
        Some("four".to_owned())
    );
    let more = missing(&wanted(&["one", "two"]), all).expect("a line too many");
    assert!(more.contains("three"), "{more}");
    assert!(missing(&[], all).is_some());
}
