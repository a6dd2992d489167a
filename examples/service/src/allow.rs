//! The list of the programs that may be started: what counts is the file that would be executed,
//! however it is written.
//!
//! A file is named by its directory, without symbolic links, and its own name in there. The last
//! link is not followed: many programs are links to one file that looks at the name by which it
//! was called, and whoever may start one of these may not start all of them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Programs, or all of them if nothing is listed.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowList(Option<BTreeSet<PathBuf>>);

impl AllowList {
    /// The files of these programs, as they are now.
    ///
    /// # Errors
    ///
    /// A text for the user: there is no such program.
    pub(crate) fn new(programs: &[String]) -> Result<Self, String> {
        if programs.is_empty() {
            return Ok(AllowList(None));
        }
        let files = programs.iter().map(|program| {
            let file = find(program, &path());
            file.ok_or_else(|| format!("{program}: there is no such program to allow"))
        });
        files
            .collect::<Result<_, _>>()
            .map(|files| AllowList(Some(files)))
    }

    /// The file to execute for a program, if it may be started; nothing if it may not.
    pub(crate) fn file(&self, program: &str) -> Option<PathBuf> {
        match &self.0 {
            // The search is the spawn's, and so are its errors.
            None => Some(PathBuf::from(program)),
            Some(allowed) => find(program, &path()).filter(|file| allowed.contains(file)),
        }
    }
}

fn path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

/// The file that a name stands for: as it is written if it has a slash, else the first one in the
/// directories of `path`.
fn find(program: &str, path: &OsStr) -> Option<PathBuf> {
    if program.contains('/') {
        return place(Path::new(program));
    }
    // An empty directory is the current one, for execvp(3) as well.
    std::env::split_paths(path)
        .map(|directory| Path::new(".").join(directory).join(program))
        .find(|file| is_executable(file))
        .and_then(|file| place(&file))
}

/// The one name of a file, whose directories are no links.
fn place(file: &Path) -> Option<PathBuf> {
    let name = file.file_name()?;
    let parent = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent.unwrap_or(Path::new(".")).canonicalize().ok()?;
    let place = directory.join(name);
    // "x/" names what "x" does, and "x/." its directory.
    let is_plain = file
        .as_os_str()
        .as_encoded_bytes()
        .ends_with(name.as_encoded_bytes());
    (is_plain && is_executable(&place)).then_some(place)
}

fn is_executable(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A directory with `bin/tool`, a link `also` to `bin`, and links to the tool.
    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        for name in ["bin", "other"] {
            std::fs::create_dir(root.join(name)).expect("a directory");
        }
        for name in ["bin/tool", "other/tool"] {
            std::fs::copy("/bin/true", root.join(name)).expect("a copy");
        }
        symlink(root.join("bin"), root.join("also")).expect("a link");
        symlink("tool", root.join("bin/alias")).expect("a link");
        symlink("../bin/tool", root.join("other/link")).expect("a link");
        std::fs::write(root.join("bin/text"), "text").expect("a file");
        directory
    }

    #[test]
    fn what_counts_is_the_file() {
        let directory = directory();
        let at = |name: &str| format!("{}/{name}", directory.path().display());
        let list = AllowList::new(&[at("also/tool")]).expect("it is there");
        let file = directory.path().canonicalize().expect("it is there");
        for same in [
            "bin/tool",
            "also/tool",
            "bin/../also/./tool",
            "other/../bin//tool",
        ] {
            assert_eq!(list.file(&at(same)), Some(file.join("bin/tool")), "{same}");
        }
        let others = [
            "other/tool",
            "bin/alias",
            "other/link",
            "bin/tool/",
            "bin/tool/.",
            "bin",
            "bin/text",
            "bin/none",
            "none/tool",
        ];
        for other in others {
            assert_eq!(list.file(&at(other)), None, "{other}");
        }
        for none in ["", "/", ".", "..", "tool"] {
            assert_eq!(list.file(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_name_is_the_first_that_path_has() {
        let directory = directory();
        let root = directory.path().canonicalize().expect("it is there");
        let path = |names: &[&str]| {
            let names = names.iter().map(|name| root.join(name));
            std::env::join_paths(names).expect("no colons")
        };
        let tool = |path: &OsStr| find("tool", path);
        assert_eq!(tool(&path(&["bin", "other"])), Some(root.join("bin/tool")));
        assert_eq!(
            tool(&path(&["none", "other"])),
            Some(root.join("other/tool"))
        );
        assert_eq!(find("text", &path(&["bin"])), None, "no program");
        assert_eq!(tool(&path(&["none"])), None);
    }

    #[test]
    fn what_is_not_there_cannot_be_allowed() {
        assert!(AllowList::new(&["/no/such/program".to_string()]).is_err());
        let all = AllowList::new(&[]).expect("all of them");
        assert_eq!(all.file("anything"), Some(PathBuf::from("anything")));
    }
}
