//! Layering: each hall imports only the halls before it in the list, no two files import each other, and files stay short.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The top-level modules, lowest first. A module imports only modules before it in this list.
const HALLS: [&str; 13] = [
    "base",
    "message",
    "policy",
    "pool",
    "metrics",
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

/// The paths of modules that the code references: `super::a::b` becomes `["super", "a", "b"]`. A path ends at the first
/// item, which is not a module or cannot be told from one.
fn referenced_paths(code: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for line in code.lines().map(str::trim_start) {
        let Some(import) = line.strip_prefix("use ").or_else(|| line.strip_prefix("pub(super) use ")) else {
            continue;
        };
        let path = import.split(['{', ';', ' ']).next().unwrap_or_default();
        paths.push(path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect());
    }
    paths
}

/// Returns the file of the longest prefix of a path that is a module below the folder.
fn file_of_module(root: &Path, path: &[String]) -> Option<PathBuf> {
    (1..=path.len()).rev().find_map(|length| {
        let base = path[..length].iter().fold(root.to_owned(), |folder, name| folder.join(name));
        [base.with_extension("rs"), base.join("mod.rs")].into_iter().find(|file| file.is_file())
    })
}

#[test]
fn no_two_files_import_each_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut imports = BTreeSet::new();
    for file in sources(&root) {
        if file.ends_with("tests.rs") || file.iter().any(|part| part == "tests") {
            continue;
        }
        let below = file.strip_prefix(&root).unwrap().with_extension("");
        let mut own: Vec<String> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if own.last().is_some_and(|name| name == "mod") {
            own.pop();
        }
        for path in referenced_paths(&code(&fs::read_to_string(&file).unwrap())) {
            let ups = path.iter().take_while(|name| *name == "super").count();
            let base = match path.first().map(String::as_str) {
                Some("super") if ups <= own.len() => own[..own.len() - ups].to_vec(),
                Some("crate") => Vec::new(),
                _ => continue,
            };
            let target: Vec<String> = base.iter().chain(&path[ups.max(1)..]).cloned().collect();
            // A parent module re-exports its children.
            let Some(other) = file_of_module(&root, &target).filter(|other| !other.ends_with("mod.rs"))
            else {
                continue;
            };
            if other != file && !file.ends_with("mod.rs") {
                imports.insert((file.clone(), other));
            }
        }
    }
    assert!(imports.len() > 300, "only {} imports were found: the parser is broken", imports.len());
    let loops: Vec<_> = imports
        .iter()
        .filter(|(one, other)| one < other && imports.contains(&(other.clone(), one.clone())))
        .collect();
    assert!(loops.is_empty(), "these files import each other: {loops:#?}");
}

#[test]
fn source_files_stay_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut long = Vec::new();
    for file in sources(&root) {
        if file.ends_with("tests.rs") || file.iter().any(|part| part == "tests") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().lines().count();
        if lines > 400 {
            long.push(format!("{}: {lines} lines", file.display()));
        }
    }
    assert!(long.is_empty(), "split these files:\n{}", long.join("\n"));
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
