use std::ffi::OsString;

pub const USAGE: &str = "usage: tenantry-tools [stack|all] [-- COMMAND [ARGUMENT...]]\n\n\
    Finds or installs what every stack needs (stack), or Helm as well (all, the default), and prints where it is. With a \
    COMMAND it prints nothing and runs the command at the same time; when either fails, the other is ended.";

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub struct Request {
    pub tools: Tools,
    /// A program and its arguments.
    pub command: Option<(OsString, Vec<OsString>)>,
}

/// Which tools are installed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tools {
    Stack,
    All,
}

impl Request {
    /// `None` when the arguments make no sense.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Option<Self> {
        let mut arguments = arguments.into_iter().peekable();
        let tools = match arguments.next_if(|argument| argument != "--") {
            None => Tools::All,
            Some(tools) if tools == "all" => Tools::All,
            Some(tools) if tools == "stack" => Tools::Stack,
            Some(_) => return None,
        };
        let command = match arguments.next() {
            None => None,
            Some(separator) if separator == "--" => Some((arguments.next()?, arguments.collect())),
            Some(_) => return None,
        };
        Some(Self { tools, command })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Request> {
        Request::read(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn reads_tools_and_a_command() {
        assert_eq!(read(""), Some(Request { tools: Tools::All, command: None }));
        assert_eq!(read("all"), Some(Request { tools: Tools::All, command: None }));
        assert_eq!(read("stack"), Some(Request { tools: Tools::Stack, command: None }));
        let cargo = || Some(("cargo".into(), vec!["build".into(), "--".into()]));
        assert_eq!(read("-- cargo build --"), Some(Request { tools: Tools::All, command: cargo() }));
        assert_eq!(read("stack -- cargo build --"), Some(Request { tools: Tools::Stack, command: cargo() }));
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for line in ["--help", "helm", "stack all", "stack cargo build", "--", "stack --"] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
