//! Reading a folder of pages.

use super::*;

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn read(files: &[(&str, &[u8])]) -> Reading {
    Pages::read(folder(files).path()).unwrap()
}

/// The faults of the only file that is rejected.
#[track_caller]
fn fault(name: &str, bytes: &[u8]) -> String {
    let reading = read(&[(name, bytes)]);
    let [rejected] = reading.rejected.as_slice() else {
        panic!("one file is rejected: {reading:#?}");
    };
    format!("{:?}", rejected.faults)
}

fn filled(pages: &Pages, status: u16, format: Format) -> Option<Bytes> {
    let values = Values {
        status,
        reason: "cut",
        request_id: "1",
    };
    pages.fill(format, &values)
}

#[test]
fn a_status_comes_before_its_class_and_formats_keep_apart() {
    let reading = read(&[
        ("502.html", b"exact {status}"),
        ("5xx.html", b"class {status}"),
        ("4xx.json", b"{status}"),
    ]);
    assert_eq!(reading.rejected, []);
    assert_eq!(reading.pages.len(), 3);
    let filled = |status, format| filled(&reading.pages, status, format);
    assert_eq!(filled(502, Format::Html).unwrap(), "exact 502");
    assert_eq!(filled(504, Format::Html).unwrap(), "class 504");
    assert_eq!(filled(413, Format::Json).unwrap(), "413");
    assert_eq!(filled(413, Format::Html), None);
    assert_eq!(filled(502, Format::Json), None);
}

#[test]
fn what_nobody_meant_to_be_a_page_is_passed_over() {
    let reading = read(&[
        (".502.html.swp", b"\xff"),
        ("502.html~", b"{oops}"),
        ("README.md", b"{oops}"),
        ("style.css", b"{oops}"),
    ]);
    assert_eq!(reading, Reading::default());
    assert!(reading.pages.is_empty());
}

#[test]
fn a_wrong_name_is_told() {
    for name in [
        "50x.html",
        "5xx.htm",
        "302.html",
        "3xx.html",
        "502.txt",
        "0502.html",
    ] {
        let fault = fault(name, b"text");
        assert!(fault.contains("is no name of a page"), "{fault}");
        assert!(fault.contains("502.html, 5xx.html"), "{fault}");
    }
    assert!(fault("5XX.HTML", b"text").contains("did you mean 5xx.html?"));
    assert!(fault("error.json", b"1").contains("is no name of a page"));
}

#[test]
fn a_page_that_is_never_used_is_told_and_harmless() {
    let reading = read(&[("404.html", b"text"), ("400.html", b"text")]);
    assert_eq!(reading.rejected, []);
    let unused: Vec<_> = reading.unused.iter().map(|one| &one.path).collect();
    let own = statuses();
    assert_eq!(unused.len(), usize::from(!own.contains(&404)));
    assert!(own.contains(&400) && own.contains(&503));
}

#[test]
fn what_cannot_be_read_is_told() {
    assert!(fault("502.html", b"caf\xe9").contains("Some(3..6)"));
    assert!(fault("502.html", &vec![b' '; BYTES_MAX + 1]).contains("larger than 1MiB"));
    assert!(fault("502.html", b"").contains("empty"));
    let folder = folder(&[]);
    fs::create_dir(folder.path().join("502.html")).unwrap();
    let pipe = folder.path().join("503.json");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let reading = Pages::read(folder.path()).unwrap();
    assert_eq!(reading.rejected.len(), 2);
    for rejected in reading.rejected {
        assert!(rejected.faults[0].message.contains("it is no file"));
    }
}

#[test]
fn a_folder_full_of_something_else_is_not_read_through() {
    let names: Vec<_> = (0..40).map(|number| format!("{number}.html")).collect();
    let files: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), &b"x"[..]))
        .collect();
    assert_eq!(read(&files).rejected.len(), REJECTED_MAX);
    let names: Vec<_> = (0..=ENTRIES_MAX)
        .map(|number| format!("{number}"))
        .collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
    assert!(Pages::read(folder(&files).path()).is_err());
}
