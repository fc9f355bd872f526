//! Writes the CRDs to the folders given, or with `--check` fails when one of them is not what the types say.
#![allow(clippy::print_stdout, reason = "a command line tool")]

use std::{error::Error, fs, path::Path, process::ExitCode};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (flags, folders): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let check = match flags.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--check"] => true,
        _ => return Err("usage: crdgen [--check] FOLDER...".into()),
    };
    let mut stale = false;
    for (name, text) in tenantry_crds::v1alpha1::yaml()? {
        for path in folders.iter().map(|folder| Path::new(folder).join(&name)) {
            if !check {
                fs::write(&path, &text)?;
            } else if fs::read_to_string(&path).ok().as_deref() != Some(&*text) {
                println!("{} is not what the types say; run `make crds`", path.display());
                stale = true;
            }
        }
    }
    Ok(if stale { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
