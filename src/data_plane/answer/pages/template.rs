//! One page of an operator: text with places that are filled in. Knows no files and no requests.
//!
//! A place is `{status}`, `{reason}` or `{request_id}`. Any other brace is text, for style sheets and JSON are full of
//! them; but a word in braces that is none of the three is a mistake, and so is a brace that HTML never closes.

use std::ops::Range;

use bytes::Bytes;

/// What a page is written in, which says how what is filled in is escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Format {
    /// Text and attributes in quotes.
    Html,
    /// Strings, without their quotes.
    Json,
}

/// What is filled in.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Values<'v> {
    /// The status, which is a number of three digits.
    pub(in super::super) status: u16,
    /// The reason in one word.
    pub(in super::super) reason: &'static str,
    /// What the request is called; it may hold any visible ASCII.
    pub(in super::super) request_id: &'v str,
}

/// A page that can be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    text: Bytes,
    parts: Vec<Part>,
    format: Format,
}

/// What is wrong with a text, and where in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Range<usize>),
    Place(Place, Range<usize>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Status,
    Reason,
    RequestId,
}

/// A page that is filled in, and where in it each part begins.
struct Filled {
    page: Vec<u8>,
    begins: Vec<usize>,
}

const PLACES: [(&str, Place); 3] = [
    ("status", Place::Status),
    ("reason", Place::Reason),
    ("request_id", Place::RequestId),
];

/// What shows whether a page is JSON: bare, neither the reason nor this id would be.
const SAMPLE: Values<'static> = Values {
    status: 502,
    reason: "connection_refused",
    request_id: r#"a"b\c"#,
};

// === impl Template ===

impl Template {
    /// Reads a page.
    ///
    /// # Errors
    ///
    /// At least one mistake.
    pub(super) fn parse(text: &str, format: Format) -> Result<Self, Vec<Mistake>> {
        if text.trim().is_empty() {
            return Err(vec![Mistake {
                span: 0..0,
                message: "the page is empty".to_owned(),
                help: "without the file the built-in page is used".to_owned(),
            }]);
        }
        let (parts, mut mistakes) = split(text, format);
        let template = Self {
            text: Bytes::copy_from_slice(text.as_bytes()),
            parts,
            format,
        };
        if mistakes.is_empty() {
            let mistake = match format {
                Format::Html => unclosed(text),
                Format::Json => template.no_json(),
            };
            mistakes.extend(mistake);
        }
        match mistakes.is_empty() {
            true => Ok(template),
            false => Err(mistakes),
        }
    }

    /// The page with these values in their places.
    pub(super) fn fill(&self, values: &Values<'_>) -> Bytes {
        match self.parts.as_slice() {
            // Nothing to fill in, and so nothing to copy.
            [Part::Text(_)] => self.text.clone(),
            _ => Bytes::from(self.filled(values).page),
        }
    }

    fn filled(&self, values: &Values<'_>) -> Filled {
        let mut filled = Filled {
            page: Vec::with_capacity(self.text.len() + values.request_id.len()),
            begins: Vec::with_capacity(self.parts.len()),
        };
        for part in &self.parts {
            filled.begins.push(filled.page.len());
            match part {
                Part::Text(span) => filled.page.extend_from_slice(&self.text[span.clone()]),
                Part::Place(place, _) => {
                    let value = self.format.escaped(&place.value(values));
                    filled.page.extend_from_slice(value.as_bytes());
                }
            }
        }
        filled
    }

    fn no_json(&self) -> Option<Mistake> {
        let filled = self.filled(&SAMPLE);
        let error = serde_json::from_slice::<serde_json::Value>(&filled.page).err()?;
        let byte = filled.byte(error.line(), error.column());
        let message = error.to_string();
        let message = message
            .split_once(" at line ")
            .map_or(message.as_str(), |(what, _)| what);
        Some(Mistake {
            span: filled.origin(byte, &self.parts),
            message: format!("the page is no JSON once it is filled in: {message}"),
            help: r#"{reason} and {request_id} stand in quotes: "{request_id}""#.to_owned(),
        })
    }
}

/// The parts of a page, and what is wrong with its places.
fn split(text: &str, format: Format) -> (Vec<Part>, Vec<Mistake>) {
    let (mut parts, mut mistakes) = (Vec::new(), Vec::new());
    let (mut done, mut at) = (0, 0);
    while let Some(found) = text[at..].find('{') {
        let open = at + found;
        let word = word(&text[open + 1..]);
        let end = open + 1 + word.len();
        at = end;
        let is_closed = text[end..].starts_with('}');
        match (place(word), is_closed) {
            (Some(_), true) if text[..open].ends_with('{') => {
                mistakes.push(doubled(word, open - 1..end + 1));
            }
            (Some(place), true) => {
                if done < open {
                    parts.push(Part::Text(done..open));
                }
                parts.push(Part::Place(place, open..end + 1));
                (done, at) = (end + 1, end + 1);
            }
            (Some(_), false) => mistakes.push(open_place(word, open..end, format)),
            (None, true) if !word.is_empty() => {
                mistakes.push(unknown(word, open..end + 1, format));
            }
            (None, _) => {}
        }
    }
    if done < text.len() {
        parts.push(Part::Text(done..text.len()));
    }
    (parts, mistakes)
}

/// What a name could be: `{3}` of a regular expression is none.
fn word(text: &str) -> &str {
    let belongs = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '-';
    if !text.starts_with(|char: char| char.is_ascii_alphabetic()) {
        return "";
    }
    let end = text.find(|char| !belongs(char)).unwrap_or(text.len());
    &text[..end]
}

fn place(word: &str) -> Option<Place> {
    let known = PLACES.iter().find(|(name, _)| *name == word);
    known.map(|(_, place)| *place)
}

// === mistakes ===

fn unknown(word: &str, span: Range<usize>, format: Format) -> Mistake {
    let folded = word.to_ascii_lowercase().replace('-', "_");
    let near = PLACES
        .iter()
        .map(|(name, _)| (strsim::damerau_levenshtein(name, &folded), name))
        .min()
        .filter(|(distance, _)| *distance <= 2);
    let help = match near {
        Some((_, name)) => format!("did you mean {{{name}}}?"),
        None => format!(
            "there are {{status}}, {{reason}} and {{request_id}}; {}",
            format.way_out()
        ),
    };
    Mistake {
        span,
        message: format!("unknown placeholder {{{word}}}"),
        help,
    }
}

fn open_place(word: &str, span: Range<usize>, format: Format) -> Mistake {
    Mistake {
        span,
        message: format!("{{{word} is not closed"),
        help: format!("write {{{word}}}; {}", format.way_out()),
    }
}

fn doubled(word: &str, span: Range<usize>) -> Mistake {
    Mistake {
        span,
        message: format!("{{{{{word}}} has a brace too many"),
        help: format!("write {{{word}}}; for a brace before it, put a space between them"),
    }
}

/// The first brace that HTML, its styles and scripts included, never closes: most likely a place that was to be.
fn unclosed(text: &str) -> Option<Mistake> {
    let mut open = Vec::new();
    for (at, char) in text.char_indices() {
        match char {
            '{' => open.push(at),
            '}' => drop(open.pop()),
            _ => {}
        }
    }
    open.first().map(|&at| Mistake {
        span: at..at + 1,
        message: "this brace is never closed".to_owned(),
        help: Format::Html.way_out().to_owned(),
    })
}

// === impl Place, Format, Filled ===

impl Place {
    fn value(self, values: &Values<'_>) -> String {
        match self {
            Self::Status => values.status.to_string(),
            Self::Reason => values.reason.to_owned(),
            Self::RequestId => values.request_id.to_owned(),
        }
    }
}

impl Format {
    /// Nothing that is filled in may end the text or the string that it stands in.
    pub(in super::super) fn escaped(self, text: &str) -> String {
        match self {
            Self::Html => escaped_html(text),
            Self::Json => {
                let quoted = serde_json::Value::from(text).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            }
        }
    }

    fn way_out(self) -> &'static str {
        match self {
            Self::Html => "for a brace as such, put a space behind it or write &#123;",
            Self::Json => r"for a brace as such, put a space behind it or write \u007b",
        }
    }
}

fn escaped_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

impl Filled {
    /// The byte at this line and column, both from 1.
    fn byte(&self, line: usize, column: usize) -> usize {
        let lines = self.page.split_inclusive(|byte| *byte == b'\n');
        let before: usize = lines.take(line.saturating_sub(1)).map(<[u8]>::len).sum();
        before + column.saturating_sub(1)
    }

    /// Where in the text of the template this byte of the page comes from: a place as a whole.
    fn origin(&self, byte: usize, parts: &[Part]) -> Range<usize> {
        let index = self.begins.partition_point(|begin| *begin <= byte);
        let index = index.saturating_sub(1);
        match &parts[index] {
            Part::Place(_, span) => span.clone(),
            Part::Text(span) => {
                let at = (span.start + byte - self.begins[index]).min(span.end - 1);
                at..at + 1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values<'static> = Values {
        status: 504,
        reason: "answer_timeout",
        request_id: r#"<a>&"'\"#,
    };

    fn filled(text: &str, format: Format) -> String {
        let template = Template::parse(text, format).unwrap();
        String::from_utf8(template.fill(&VALUES).to_vec()).unwrap()
    }

    #[track_caller]
    fn check(text: &str, format: Format, marked: &str, message: &str) {
        let mistakes = Template::parse(text, format).unwrap_err();
        let [mistake] = mistakes.as_slice() else {
            panic!("one mistake, not {mistakes:#?}");
        };
        assert_eq!(&text[mistake.span.clone()], marked, "{mistake:#?}");
        assert!(mistake.message.contains(message), "{mistake:#?}");
    }

    #[test]
    fn each_place_is_filled_in_as_its_format_requires() {
        assert_eq!(
            filled("<b>{status}</b> {reason} {request_id}", Format::Html),
            r"<b>504</b> answer_timeout &lt;a&gt;&amp;&quot;&#39;\"
        );
        let json = filled(
            r#"{"s": {status}, "r": "{reason}", "id": "{request_id}"}"#,
            Format::Json,
        );
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let expected =
            serde_json::json!({"s": 504, "r": "answer_timeout", "id": VALUES.request_id});
        assert_eq!(json, expected);
    }

    #[test]
    fn braces_of_styles_scripts_and_json_are_text() {
        for text in [
            "<style>b{color:red} @media print{b{margin:0}}</style>",
            "<input pattern=\"[0-9]{3}\"> {} { } {ä}",
            "a page without any place",
            "}{ status }",
        ] {
            assert_eq!(filled(text, Format::Html), text);
        }
        let json = "{\"a\": [{}, {\"b\": \"{\"}], \"c\": \"\\u007breason}\"}";
        assert_eq!(filled(json, Format::Json), json);
    }

    #[test]
    fn what_has_no_place_is_not_copied() {
        let template = Template::parse("all text", Format::Html).unwrap();
        assert_eq!(template.fill(&VALUES).as_ptr(), template.text.as_ptr());
    }

    #[test]
    fn a_mistake_is_found_where_it_stands() {
        let html = Format::Html;
        check("<p>\n{stauts}", html, "{stauts}", "unknown");
        check("{request-id}", html, "{request-id}", "unknown");
        check("{Reason}", html, "{Reason}", "unknown");
        check("x{{status}}", html, "{{status}", "too many");
        check("<p>{status</p>", html, "{status", "not closed");
        check("<p>{request_id", html, "{request_id", "not closed");
        check("ä {oops</p> {status}", html, "{", "never closed");
        check(" \n", html, "", "empty");
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_near_one_or_all() {
        let help = |text| {
            Template::parse(text, Format::Html).unwrap_err()[0]
                .help
                .clone()
        };
        assert_eq!(help("{stauts}"), "did you mean {status}?");
        assert_eq!(help("{REQUEST-ID}"), "did you mean {request_id}?");
        assert!(help("{color}").contains("{status}, {reason} and {request_id}"));
    }

    #[test]
    fn json_must_be_json_once_it_is_filled_in() {
        let json = Format::Json;
        check(r#"{"r": {reason}}"#, json, "{reason}", "no JSON");
        check(r#"{"id": {request_id}}"#, json, "{request_id}", "no JSON");
        check("{\"s\": {status},\n \"b\" 1}", json, "1", "expected `:`");
        check("{\"s\": {status}", json, "{status}", "EOF");
        check("<html>", json, "<", "expected value");
        assert_eq!(filled("{status}", json), "504");
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let mistakes = Template::parse("{a} {b} {status", Format::Html).unwrap_err();
        assert_eq!(mistakes.len(), 3);
    }
}
