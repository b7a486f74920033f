//! Child processes: each begins with an environment of its own.

use std::{ffi::OsStr, path::Path, process::Command};

/// What a program of PostgreSQL needs of our environment: where programs, libraries and temporary files are, and how the
/// operating system finds users and keys of its own. Passphrases, passwords and cloud keys are in none of these.
const INHERITED_VARIABLES: [&str; 8] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "PGSYSCONFDIR",
    "KRB5CCNAME",
    "KRB5_CONFIG",
    "TZ",
];

/// A program that gets nothing of this process's environment but `KEPT`. Its messages are in English. This is the one way
/// to start one: a secret that a policy has in a variable never reaches a child.
pub fn isolated_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for name in INHERITED_VARIABLES {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.env("LC_ALL", OsStr::new("C"));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_gets_what_it_needs_and_no_more() {
        // Cargo's own variables stand for those of a policy: they are in every test's environment.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
        let said = isolated_command(Path::new("/usr/bin/env")).output().expect("env runs");
        let said = String::from_utf8(said.stdout).expect("names of variables");
        let names: Vec<&str> = said.lines().filter_map(|l| Some(l.split_once('=')?.0)).collect();
        assert!(names.contains(&"PATH") && names.contains(&"LC_ALL"), "{said}");
        for name in names {
            assert!(name == "LC_ALL" || INHERITED_VARIABLES.contains(&name), "{name}");
        }
    }
}
