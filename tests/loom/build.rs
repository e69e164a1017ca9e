//! Copies `src/live.rs` twice: as it is, and with a fault planted, so that the test proves that it can fail.

use std::{env, fs, path::Path};

/// The second load: without it a worker may count itself into a generation that was already found drained.
const RECHECK: &str = "if select(&self.live.routing.load()).is_some_and(|now| Arc::ptr_eq(now, &lease.seat.generation)) {";

fn main() {
    let source = Path::new("../../src/live.rs");
    println!("cargo::rerun-if-changed={}", source.display());
    println!("cargo::rustc-check-cfg=cfg(loom)");
    println!("cargo::rustc-cfg=loom");
    let live = fs::read_to_string(source).expect("src/live.rs is beside this crate");
    // What is included into a module can have no inner docs, and the loom test has payloads of its own.
    let live: String = live
        .lines()
        .filter(|line| {
            !line.starts_with("//!") && !line.contains("backend") && !line.contains("outcomes")
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    let start = live
        .find("if select(&self.live.routing.load())")
        .expect("the second load is there");
    let end = start + live[start..].find('{').expect("a block follows") + 1;
    assert_eq!(
        squeezed(&live[start..end]),
        squeezed(RECHECK),
        "the second load reads differently: plant the fault anew"
    );
    let faulty = format!("{}if true {{{}", &live[..start], &live[end..]);
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("live.rs"), live).expect("OUT_DIR is writable");
    fs::write(Path::new(&out).join("faulty.rs"), faulty).expect("OUT_DIR is writable");
}
