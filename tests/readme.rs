//! Promise: what the README tells one to type works, and shows what the README shows.
//!
//! Each chapter with blocks is typed out by a test of its own, in order and in an empty folder: files are written,
//! commands are run with the hitless under test, `hitless run` goes on in a terminal of its own until the chapter ends
//! with Ctrl-C. No block is left out; what is not run as it stands is in `terminal::Line`, with what is checked instead.

#[path = "readme/page.rs"]
mod page;
#[path = "readme/shown.rs"]
mod shown;
mod support;
#[path = "readme/terminal.rs"]
mod terminal;

use page::{Block, Chapter, Content};
use support::app::real::{beside_python, on_path};
use terminal::Desk;

/// Types out the chapter of this heading.
async fn typed_out(heading: &str) {
    on_path("curl");
    let chapter = chapter(heading);
    let mut desk = Desk::new();
    for block in &chapter.blocks {
        match &block.content {
            Content::File { name, text } => desk.write(name, text),
            Content::Commands(commands) => {
                for command in commands {
                    desk.types(block.line, command).await;
                }
            }
            Content::Dialogue(steps) => {
                for (index, step) in steps.iter().enumerate() {
                    let next = steps.get(index + 1).map(|next| next.command.as_str());
                    desk.answers(step, next).await;
                }
            }
        }
    }
    desk.leave().await;
}

fn chapter(heading: &str) -> Chapter {
    let chapters = page::chapters().into_iter();
    let mut found = chapters.filter(|chapter| chapter.heading == heading);
    let chapter = found
        .next()
        .unwrap_or_else(|| panic!("the README has no chapter {heading:?}"));
    assert!(found.next().is_none(), "two chapters {heading:?}");
    assert!(!chapter.blocks.is_empty(), "{heading:?} has no block");
    chapter
}

#[tokio::test]
#[ignore = "needs curl: run tests/run"]
async fn what_to_try_first_works() {
    typed_out("Try it").await;
}

#[tokio::test]
#[ignore = "needs Tornado: run tests/run"]
async fn the_example_of_tornado_works() {
    beside_python("pip");
    typed_out("Tornado").await;
}

#[tokio::test]
#[ignore = "needs gunicorn: run tests/run"]
async fn the_example_of_gunicorn_works() {
    beside_python("gunicorn");
    typed_out("gunicorn").await;
}

#[tokio::test]
#[ignore = "needs uvicorn: run tests/run"]
async fn the_example_of_uvicorn_works() {
    beside_python("uvicorn");
    typed_out("uvicorn").await;
}

#[tokio::test]
#[ignore = "needs Node: run tests/run"]
async fn the_example_of_node_works() {
    on_path("node");
    typed_out("Node").await;
}

#[tokio::test]
#[ignore = "needs curl: run tests/run"]
async fn the_example_of_a_static_binary_works() {
    typed_out("A static binary").await;
}

#[tokio::test]
#[ignore = "needs curl: run tests/run"]
async fn the_examples_of_several_apps_are_valid() {
    typed_out("Several apps").await;
}

#[tokio::test]
async fn the_command_of_the_tests_is_there() {
    typed_out("Tests").await;
}

#[test]
fn every_chapter_with_a_block_is_typed_out_by_a_test() {
    let tests = include_str!("readme.rs");
    let mut left_out = Vec::new();
    for Chapter { heading, blocks } in page::chapters() {
        let test = format!("\n    typed_out(\"{heading}\").await;");
        if !blocks.is_empty() && !tests.contains(&test) {
            let lines: Vec<_> = blocks.iter().map(|Block { line, .. }| line).collect();
            left_out.push(format!("{heading:?}, blocks at lines {lines:?}"));
        }
    }
    assert!(left_out.is_empty(), "\n{}", left_out.join("\n"));
}
