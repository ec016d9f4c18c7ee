//! Imports point down only: each module of the crate uses those before it in this list, and none after.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules from the ground up. What stands on one floor does not import from its neighbours to the
/// right either, so that the whole is one order.
const FLOORS: [&[&str]; 6] = [
    &[
        "named",
        "error",
        "clock",
        "ring",
        "byte_size",
        "cache_mode",
        "deadline",
        "cancellation",
        "interim",
        "ledger",
        "pieces",
    ],
    &[
        "body",
        "flight",
        "limited_body",
        "header",
        "digest",
        "target",
        "access",
        "peer_url",
        "member",
        "protocol",
        "at_once",
        "fill",
        "purge",
        "tls",
        "token",
    ],
    &["round_trip", "stats", "policy", "store"],
    &["scheduler", "origin", "agent", "polite", "caching"],
    &["near", "client", "members", "handler"],
    &["front", "peer", "fuzzing"],
];

fn order() -> Vec<&'static str> {
    FLOORS.concat()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("the entry can be read").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The top-level module that a source file belongs to.
fn module_of(path: &Path, root: &Path) -> String {
    let below = path.strip_prefix(root).expect("the file lies in the folder");
    let first = below.iter().next().expect("the path names a file");
    Path::new(first).file_stem().expect("it has a name").to_string_lossy().into_owned()
}

/// The modules that a line of code names by `crate::`, also in a group and behind `use`.
fn named(code: &str) -> Vec<String> {
    let name_at = |text: &str| -> String {
        text.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect()
    };
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut item = String::new();
            for letter in group.chars() {
                match letter {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => names.push(name_at(std::mem::take(&mut item).trim())),
                    _ => {}
                }
                if letter != ',' || depth > 0 {
                    item.push(letter);
                }
            }
            names.push(name_at(item.trim()));
        } else {
            names.push(name_at(rest));
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The code of a file: comments may name what they like, and so may tests, which look at the crate from
/// all sides.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[test]
fn imports_point_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let order = order();
    let position = |module: &str| order.iter().position(|known| *known == module);
    let mut upward = Vec::new();
    let mut checked = 0;
    for path in sources(&root) {
        let module = module_of(&path, &root);
        if ["lib", "main", "cli"].contains(&module.as_str())
            || path.ends_with("testing.rs")
            || path.ends_with("tests.rs")
            || path.iter().any(|part| part == "tests")
        {
            continue;
        }
        let own = position(&module).unwrap_or_else(|| panic!("{module} stands on no floor"));
        for name in named(&code(&fs::read_to_string(&path).unwrap())) {
            checked += 1;
            if name == module {
                continue;
            }
            match position(&name) {
                Some(other) if other < own => {}
                Some(_) => upward.push(format!("{}: {name}", path.display())),
                // Names at the root are re-exports: they have a home, and that is to be named.
                None => upward.push(format!("{}: {name}, which is no module", path.display())),
            }
        }
    }
    assert!(upward.is_empty(), "these imports point up:\n{}", upward.join("\n"));
    assert!(checked > 100, "only {checked} imports were found: the reader is broken");
}

#[test]
fn the_root_is_a_shop_window() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    for line in code(&fs::read_to_string(root).unwrap()).lines() {
        let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("(crate) ");
        let defines = [
            "fn ",
            "struct ",
            "enum ",
            "trait ",
            "impl ",
            "impl<",
            "const ",
            "static ",
            "type ",
            "macro_rules",
        ];
        assert!(!defines.iter().any(|keyword| line.starts_with(keyword)), "lib.rs defines: {line}");
    }
}

#[test]
fn the_command_uses_the_public_face() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in sources(&root.join("cli")) {
        let text = code(&fs::read_to_string(&path).unwrap());
        assert!(!text.contains("crate::"), "{} reaches past the library's face", path.display());
    }
}

#[test]
fn the_reader_sees_groups_paths_and_code_alone() {
    assert_eq!(
        named("use crate::{error::{Error, Result}, body::Body, header};"),
        ["error", "body", "header"]
    );
    assert_eq!(named("let x = crate::ring::Ring::new(a); crate::body"), ["ring", "body"]);
    assert_eq!(code("a // crate::peer\n#[cfg(test)]\nmod tests { use crate::peer; }"), "a ");
}
