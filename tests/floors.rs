//! Layering: each module of the crate imports only modules that come before it in this list.

use std::fs;
use std::path::{Path, PathBuf};

/// The top-level modules, lowest first. A module imports only modules before it in this list.
const HALLS: [&str; 12] = [
    "base",
    "message",
    "policy",
    "pool",
    "scheduler",
    "store",
    "origin",
    "cache",
    "client",
    "server",
    "peer",
    "fuzzing",
];

fn order() -> Vec<&'static str> {
    HALLS.to_vec()
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

/// Returns the top-level module that a source file belongs to.
fn module_of(path: &Path, root: &Path) -> String {
    let below = path.strip_prefix(root).expect("the file lies in the folder");
    let first = below.iter().next().expect("the path has a file name");
    Path::new(first).file_stem().expect("a file has a stem").to_string_lossy().into_owned()
}

/// Returns the modules that the code references through `crate::`, including those in groups.
fn referenced_modules(code: &str) -> Vec<String> {
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

/// Returns the code without comments and test modules, which may reference any module.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[test]
fn imports_point_to_lower_layers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let order = order();
    let position = |module: &str| order.iter().position(|known| *known == module);
    let mut upward = Vec::new();
    let mut checked = 0;
    for path in sources(&root) {
        let module = module_of(&path, &root);
        if ["lib", "main", "cli", "guide"].contains(&module.as_str())
            || path.ends_with("testing.rs")
            || path.ends_with("tests.rs")
            || path.iter().any(|part| part == "tests")
        {
            continue;
        }
        let own = position(&module).unwrap_or_else(|| panic!("the module {module} is not listed in HALLS"));
        for name in referenced_modules(&code(&fs::read_to_string(&path).unwrap())) {
            checked += 1;
            if name == module {
                continue;
            }
            match position(&name) {
                Some(other) if other < own => {}
                Some(_) => upward.push(format!("{}: {name}", path.display())),
                // A name at the root is a re-export; import it from its own module.
                None => upward.push(format!("{}: {name}, which is not a module", path.display())),
            }
        }
    }
    assert!(upward.is_empty(), "these imports point to a higher layer:\n{}", upward.join("\n"));
    assert!(checked > 100, "only {checked} imports were found: the parser is broken");
}

#[test]
fn crate_root_only_reexports() {
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
fn command_uses_only_the_public_api() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in sources(&root.join("cli")) {
        let text = code(&fs::read_to_string(&path).unwrap());
        assert!(!text.contains("crate::"), "{} does not use the public API only", path.display());
    }
}

#[test]
fn parser_finds_groups_and_paths_and_skips_comments_and_tests() {
    assert_eq!(
        referenced_modules("use crate::{error::{Error, Result}, body::Body, header};"),
        ["error", "body", "header"]
    );
    assert_eq!(referenced_modules("let x = crate::ring::Ring::new(a); crate::body"), ["ring", "body"]);
    assert_eq!(code("a // crate::peer\n#[cfg(test)]\nmod tests { use crate::peer; }"), "a ");
}
