//! Writes the CRDs to the folders given and the generated parts into the pages given (`*.md`), or with `--check` fails when
//! one of them is not what the types say.
#![allow(clippy::print_stdout, reason = "a command line tool")]

use std::{
    error::Error,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use tenantry_crds::{reference::conditions_page, v1alpha1};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (flags, paths): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let check = match flags.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--check"] => true,
        _ => return Err("usage: crdgen [--check] FOLDER|PAGE.md...".into()),
    };
    let mut stale = false;
    for (path, text) in wanted(&paths)? {
        if !check {
            fs::write(&path, &text)?;
        } else if fs::read_to_string(&path).ok().as_deref() != Some(&*text) {
            println!("{} is not what the types say; run `make crds`", path.display());
            stale = true;
        }
    }
    Ok(if stale { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The files that should be, with their texts.
fn wanted(paths: &[String]) -> Result<Vec<(PathBuf, String)>, Box<dyn Error>> {
    let is_page = |path: &&String| Path::new(path).extension() == Some(OsStr::new("md"));
    let (pages, folders): (Vec<&String>, Vec<&String>) = paths.iter().partition(is_page);
    let mut files = Vec::new();
    for (name, text) in v1alpha1::yaml()? {
        files.extend(folders.iter().map(|folder| (Path::new(folder).join(&name), text.clone())));
    }
    for page in pages {
        let text = conditions_page(&fs::read_to_string(page)?);
        files.push((page.into(), text.ok_or_else(|| format!("{page} lacks a marker of a generated part"))?));
    }
    Ok(files)
}
