//! The README as what is to be typed: chapters with their blocks. Any block that it cannot make sense of is an error.

use std::fs;
use std::path::Path;

/// What stands under a heading of the second or third level, deeper ones included.
#[derive(Clone, Debug)]
pub(crate) struct Chapter {
    pub heading: String,
    pub blocks: Vec<Block>,
}

/// A fenced block.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// The line of its fence.
    pub line: usize,
    pub content: Content,
}

/// What a block asks for.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// `sh`: to be typed one after another, each ending with 0.
    Commands(Vec<String>),
    /// `console`: the same, and what is shown.
    Dialogue(Vec<Step>),
    /// A language: a file to be written. The line before the block names it, between backticks and with a colon.
    File { name: String, text: String },
}

/// A command and what it shows.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub line: usize,
    pub command: String,
    pub shown: Vec<String>,
}

/// A block as it stands.
struct Raw {
    line: usize,
    info: String,
    before: String,
    text: Vec<String>,
}

const LANGUAGES: [&str; 4] = ["js", "python", "rust", "toml"];

/// Every chapter of the README.
pub(crate) fn chapters() -> Vec<Chapter> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    read(&text)
}

fn read(text: &str) -> Vec<Chapter> {
    let mut chapters = vec![Chapter::new("hitless")];
    let mut before = String::new();
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let taken = lines.by_ref().map(|(line, _)| line);
            let inside: Vec<_> = taken.take_while(|line| *line != "```").collect();
            let raw = Raw {
                line: number,
                info: info.to_owned(),
                before: std::mem::take(&mut before),
                text: inside.iter().map(|&line| line.to_owned()).collect(),
            };
            let chapter = chapters.last_mut().expect("there is one from the start");
            chapter.blocks.push(raw.block());
            continue;
        }
        refuse_hidden_blocks(line, number);
        let heading = |mark| line.strip_prefix(mark);
        let heading = heading("## ").or_else(|| heading("### "));
        chapters.extend(heading.map(Chapter::new));
        if !line.is_empty() {
            line.clone_into(&mut before);
        }
    }
    chapters
}

/// Blocks in other clothes would not be typed out by anybody.
fn refuse_hidden_blocks(line: &str, number: usize) {
    let inner = line.trim_start();
    let fence = inner.starts_with("```") || inner.starts_with("~~~");
    let indented = line.starts_with("    ") || line.starts_with('\t');
    let html = inner.starts_with("<pre");
    assert!(
        !(fence || indented || html),
        "README.md:{number}: a block that no test would type out; write it with ``` at the margin: {line:?}"
    );
}

// === impl Chapter ===

impl Chapter {
    fn new(heading: &str) -> Self {
        Self {
            heading: heading.to_owned(),
            blocks: Vec::new(),
        }
    }
}

// === impl Raw ===

impl Raw {
    fn block(self) -> Block {
        Block {
            line: self.line,
            content: match self.info.as_str() {
                "sh" => Content::Commands(self.commands()),
                "console" => Content::Dialogue(self.dialogue()),
                language if LANGUAGES.contains(&language) => self.file(),
                other => panic!(
                    "README.md:{}: a block of {other:?} is neither sh nor console nor a file in {LANGUAGES:?}",
                    self.line
                ),
            },
        }
    }

    /// A line that ends with a backslash goes on in the next.
    fn commands(&self) -> Vec<String> {
        let text = self.text.join("\n").replace("\\\n", "");
        let commands = text.lines().map(str::trim);
        let commands = commands.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let commands: Vec<_> = commands.map(str::to_owned).collect();
        assert!(!commands.is_empty(), "README.md:{}: empty", self.line);
        commands
    }

    fn dialogue(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for (text, line) in self.text.iter().zip(self.line + 1..) {
            if let Some(command) = text.strip_prefix("$ ") {
                steps.push(Step {
                    line,
                    command: command.to_owned(),
                    shown: Vec::new(),
                });
            } else {
                let step = steps.last_mut().unwrap_or_else(|| {
                    panic!("README.md:{line}: a console block begins with `$ `")
                });
                step.shown.push(text.clone());
            }
        }
        assert!(!steps.is_empty(), "README.md:{}: empty", self.line);
        steps
    }

    fn file(&self) -> Content {
        let named = self.before.strip_suffix("`:");
        let name = named.and_then(|named| named.rsplit_once('`'));
        let Some((_, name)) = name else {
            panic!(
                "README.md:{}: the line before a block of {:?} ends with the file's name, as in `app.py`: but is {:?}",
                self.line, self.info, self.before
            );
        };
        Content::File {
            name: name.to_owned(),
            text: self.text.join("\n") + "\n",
        }
    }
}

#[test]
fn a_block_that_nobody_could_type_out_is_refused() {
    for (text, why) in [
        ("```text\nx\n```\n", "neither sh nor console"),
        ("```\nx\n```\n", "neither sh nor console"),
        ("```sh no-run\nx\n```\n", "neither sh nor console"),
        ("    hitless run\n", "no test would type out"),
        (
            "- a list\n\n  ```sh\n  x\n  ```\n",
            "no test would type out",
        ),
        ("~~~sh\nx\n~~~\n", "no test would type out"),
        ("<pre>x</pre>\n", "no test would type out"),
        (
            "And now:\n\n```python\nx\n```\n",
            "ends with the file's name",
        ),
        ("```console\nx\n```\n", "begins with `$ `"),
        ("```sh\n\n# nothing\n```\n", "empty"),
    ] {
        let refused = std::panic::catch_unwind(|| read(text)).expect_err(text);
        let said = refused.downcast_ref::<String>().expect("panics say why");
        assert!(said.contains(why), "{text:?}: {said}");
    }
}

#[test]
fn reads_files_commands_and_dialogues() {
    let text = "# Title\n\n## One\n\nIn `app.py`:\n\n```python\na = 1\n```\n\n#### Deeper\n\n```sh\nfirst \\\n  more # why\nsecond\n```\n\n### Two\n\n```console\n$ ask\nanswer\n\n$ again\n```\n";
    let chapters = read(text);
    let headings: Vec<_> = chapters.iter().map(|one| one.heading.as_str()).collect();
    assert_eq!(headings, ["hitless", "One", "Two"]);
    match &chapters[1].blocks[..] {
        [
            Block {
                line: 7,
                content: Content::File { name, text },
            },
            Block {
                content: Content::Commands(commands),
                ..
            },
        ] => {
            assert_eq!((name.as_str(), text.as_str()), ("app.py", "a = 1\n"));
            assert_eq!(commands[..], ["first   more # why", "second"]);
        }
        other => panic!("{other:?}"),
    }
    match &chapters[2].blocks[..] {
        [
            Block {
                content: Content::Dialogue(steps),
                ..
            },
        ] => {
            assert_eq!(steps[0].command, "ask");
            assert_eq!(steps[0].shown, ["answer", ""]);
            assert_eq!((steps[1].command.as_str(), steps[1].line), ("again", 25));
        }
        other => panic!("{other:?}"),
    }
}
