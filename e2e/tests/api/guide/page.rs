//! A page and its examples.

use std::path::Path;

use super::promise::Promise;

/// What is run, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Shell,
    JavaScript,
}

/// A block that is run, with what it promises.
pub struct Example {
    pub language: Language,
    pub command: String,
    pub promise: Promise,
    /// Repeated until it keeps its promise.
    pub eventually: bool,
}

/// A page of the guide.
pub struct Page {
    pub name: String,
    pub examples: Vec<Example>,
    /// Parts of manifests.
    pub manifests: Vec<serde_json::Value>,
}

impl Page {
    /// # Panics
    /// When a block is not written by the rules of `docs/api/README.md`.
    pub fn read(path: &Path, names: &dyn Fn(&str) -> String) -> Self {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = names(&std::fs::read_to_string(path).unwrap());
        let mut page = Self { name, examples: Vec::new(), manifests: Vec::new() };
        // Whether the last block is an example that has no answer yet.
        let mut open = false;
        for block in text.split("\n```").skip(1).step_by(2) {
            let (kind, text) = block.split_once('\n').unwrap_or_else(|| panic!("{}: {block}", page.name));
            let (kind, eventually) = match kind.split_once(' ') {
                Some((kind, "eventually")) => (kind, true),
                Some((_, other)) => panic!("{}: {other:?} behind the kind of a block", page.name),
                None => (kind, false),
            };
            let mut run = |language| {
                let (command, promise) = (text.to_owned(), Promise::Success);
                page.examples.push(Example { language, command, promise, eventually });
            };
            match kind {
                "sh" => run(Language::Shell),
                "js" => run(Language::JavaScript),
                "json" | "http" => {
                    assert!(open, "{}: no command before {text}", page.name);
                    let promise = Promise::parse(kind, text)
                        .unwrap_or_else(|why| panic!("{}: {why}\n{text}", page.name));
                    page.examples.last_mut().unwrap().promise = promise;
                }
                "yaml" => page
                    .manifests
                    .push(serde_yaml::from_str(text).unwrap_or_else(|why| panic!("{why}\n{text}"))),
                other => panic!("{}: a block of kind {other:?}", page.name),
            }
            open = matches!(kind, "sh" | "js");
        }
        page
    }
}
