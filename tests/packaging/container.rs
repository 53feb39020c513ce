//! The Dockerfile: every path that it copies is there and reaches the builder, and what it runs is what the program understands.

use std::path::{Path, PathBuf};

use neo4j_falkordb_sync::cli::arguments::{Arguments, Command};

use super::{shipped, text};

const PROGRAM: &str = "neo4j-falkordb-sync";

struct Instruction {
    name: String,
    rest: String,
}

/// The instructions, continued lines joined.
fn instructions() -> Vec<Instruction> {
    let joined = text("Dockerfile").replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let split = |line: &str| {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        Instruction { name: name.to_owned(), rest: rest.trim().to_owned() }
    };
    lines.map(split).collect()
}

fn rest_of(name: &str) -> Vec<String> {
    instructions().into_iter().filter(|instruction| instruction.name == name).map(|instruction| instruction.rest).collect()
}

/// What is copied from the checkout, in the order of the file.
fn copied() -> Vec<String> {
    let from_checkout = |rest: &String| !rest.starts_with("--from");
    let sources = |rest: String| {
        let words: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
        words[..words.len() - 1].to_vec()
    };
    rest_of("COPY").into_iter().filter(from_checkout).flat_map(sources).collect()
}

/// The words of an instruction in its exec form.
fn words(json: &str) -> Vec<String> {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json} is not in exec form, which needs no shell: {error}"))
}

#[test]
fn every_path_that_it_copies_is_there_and_reaches_the_builder() {
    let ignored = text(".dockerignore");
    let let_through: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let copied = copied();
    assert!(copied.iter().any(|path| path == "src") && copied.len() > 4, "{copied:?}");
    for path in &copied {
        assert!(shipped(path).exists(), "{path} is not there");
        assert!(let_through.contains(&path.as_str()), ".dockerignore keeps {path} from the builder");
    }
    for path in let_through {
        assert!(copied.iter().any(|known| known == path), "{path} reaches the builder for nothing");
    }
}

/// What the sources take in at compile time from outside `src` has to be there before the program is built.
#[test]
fn whatever_the_sources_include_is_copied() {
    let copied = copied();
    let mut found = 0;
    for file in sources(&shipped("src")) {
        let source = std::fs::read_to_string(&file).unwrap();
        for place in ["include_str!(\"", "include_bytes!(\""] {
            for rest in source.split(place).skip(1) {
                let included = file.parent().unwrap().join(rest.split('"').next().unwrap()).canonicalize().unwrap();
                let relative = included.strip_prefix(shipped("").canonicalize().unwrap()).unwrap();
                let root = relative.components().next().unwrap().as_os_str().to_str().unwrap();
                assert!(copied.iter().any(|path| path == root), "{} includes {}", file.display(), relative.display());
                found += 1;
            }
        }
    }
    assert!(found > 0);
}

fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

#[test]
fn it_builds_with_a_compiler_that_is_new_enough_and_the_locked_dependencies() {
    let manifest = text("Cargo.toml");
    let needed = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    let used = rest_of("ARG").iter().find_map(|rest| rest.strip_prefix("RUST_VERSION=").map(str::to_owned)).unwrap();
    let minor = |version: &str| version.split('.').nth(1).unwrap().parse::<u32>().unwrap();
    assert!(minor(&used) >= minor(needed), "{used} is older than {needed}");
    let builds: Vec<String> = rest_of("RUN").into_iter().filter(|rest| rest.starts_with("cargo build")).collect();
    assert_eq!(builds.len(), 2, "one layer for the dependencies, one for the program: {builds:?}");
    assert!(builds.iter().all(|build| build == &builds[0]), "another build would not use the first layer: {builds:?}");
    assert!(builds[0].contains("--locked") && builds[0].contains(&format!("--bin {PROGRAM}")), "{builds:?}");
}

/// The layer of dependencies has the manifest and two empty files, and no test or benchmark that the manifest names.
#[test]
fn the_manifest_can_be_read_in_the_layer_of_dependencies() {
    let directory = tempfile::tempdir().unwrap();
    for path in ["Cargo.toml", "Cargo.lock"] {
        std::fs::copy(shipped(path), directory.path().join(path)).unwrap();
    }
    let prepare = rest_of("RUN").into_iter().find(|rest| rest.starts_with("mkdir")).unwrap();
    let made = std::process::Command::new("sh").args(["-euc", &prepare]).current_dir(directory.path()).status().unwrap();
    assert!(made.success(), "{prepare}");
    let metadata = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
}

#[test]
fn what_it_runs_is_what_the_program_understands() {
    let [program] = <[String; 1]>::try_from(words(&rest_of("ENTRYPOINT")[0])).unwrap();
    let copies = rest_of("COPY");
    let installed = copies.iter().find(|rest| rest.starts_with("--from=build")).unwrap();
    assert!(installed.ends_with(&program) && installed.contains(&format!("/target/release/{PROGRAM} ")), "{installed}");
    let line = [vec![program.clone()], words(&rest_of("CMD")[0])].concat();
    assert_eq!(Arguments::read(line).unwrap().command, Command::Run);
    let check = rest_of("HEALTHCHECK")[0].split_once("CMD ").unwrap().1.to_owned();
    let check = words(&check);
    assert_eq!(check[0], program);
    assert_eq!(Arguments::read(check).unwrap().command, Command::Health);
}

#[test]
fn it_does_not_run_as_root() {
    let last_from = instructions().iter().rposition(|instruction| instruction.name == "FROM").unwrap();
    let users: Vec<String> = instructions()
        .into_iter()
        .skip(last_from)
        .filter(|instruction| instruction.name == "USER")
        .map(|instruction| instruction.rest)
        .collect();
    let [user] = users.as_slice() else { panic!("one user: {users:?}") };
    // By number, so that whoever runs it can tell that it is not root without a list of users.
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id >= 1000)), "{user}");
}
