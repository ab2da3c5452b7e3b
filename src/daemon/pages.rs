//! The man pages of the daemon: rackbmcd(8) from its arguments, rackbmcd.toml(5) from the annotated
//! configuration, which the tests of `config` hold against what is really read.

use super::Arguments;
use clap::{CommandFactory, ValueEnum};

/// The configuration with every key, as it is installed among the examples.
const ANNOTATED: &str = include_str!("../../etc/rackbmcd.toml");

/// Which page.
#[derive(ValueEnum, Clone, Copy, Debug)]
pub(super) enum Page {
    /// rackbmcd(8)
    Daemon,
    /// rackbmcd.toml(5)
    Configuration,
}

/// A page, as man(1) reads it.
pub(super) fn text(page: Page) -> String {
    match page {
        Page::Daemon => daemon(),
        Page::Configuration => configuration(),
    }
}

/// What rackbmcd(8) has beside the options.
const DAEMON: &str = r#".SH SIGNALS
.TP
SIGHUP
Read the configuration again. A wrong one changes nothing, and the log says where it is wrong.
.TP
SIGTERM, SIGINT
Close the sessions and end. Tasks stay in the journal and are gone on with at the next start. A second one ends at once.
.SH EXIT STATUS
.TP
0
Told to stop, and stopped.
.TP
1
Something failed that may be well again later.
.TP
78
The configuration is wrong, or the journal that was there before is missing or not mounted.
.SH FILES
.TP
/etc/rackbmcd/rackbmcd.toml
The configuration of the one rack: rackbmcd.toml(5). A host with several racks has NAME.toml for rackbmcd@NAME.service.
.TP
/var/lib/rackbmcd
The journal of tasks, the history and the audit trail.
.TP
/run/rackbmcd/rackbmcd.sock
The socket of the API.
.SH SEE ALSO
.BR rackbmc (1),
.BR rackbmcd.toml (5),
.BR systemd.socket (5)
"#;

fn daemon() -> String {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(Arguments::command())
        .section("8")
        .render(&mut page);
    rendered.expect("memory takes all that is written");
    String::from_utf8_lossy(&page).into_owned() + DAEMON
}

fn configuration() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut page = format!(
        ".TH rackbmcd.toml 5 \"\" \"rackbmcd {version}\"\n\
         .SH NAME\nrackbmcd.toml \\- the configuration of one rack\n\
         .SH DESCRIPTION\n\
         The file is TOML. What is wrong in it is said with line and column, by \\fBrackbmcd \\-\\-check\\-config\\fR and \
         by the daemon. Keys that once were are taken for ever, with a warning where they have no effect any more.\n.PP\n\
         A key is shown with its default, or with an example where it has none.\n"
    );
    let mut lines = ANNOTATED.lines().peekable();
    // The head of the file is about the file.
    while lines.next_if(|line| line.starts_with('#')).is_some() {}
    let mut said = Vec::new();
    while let Some(line) = lines.next() {
        let bare = line.strip_prefix('#').unwrap_or(line);
        if bare.starts_with('[') {
            page.push_str(&format!(".SS {}\n", escaped(bare)));
            if !said.is_empty() {
                page.push_str(&format!("{}\n", said.join("\n")));
            }
            said.clear();
        } else if line.starts_with("# ") {
            said.push(escaped(bare.trim_start()));
        } else if !bare.is_empty() {
            page.push_str(&format!(".TP\n.B {}\n", escaped(bare)));
            // Keys that stand together share what is said of them.
            while let Some(more) = lines.next_if(|next| is_key(next)) {
                let bare = more.strip_prefix('#').unwrap_or(more);
                page.push_str(&format!(".TQ\n.B {}\n", escaped(bare)));
            }
            page.push_str(&format!("{}\n", said.join("\n")));
            said.clear();
        }
    }
    page.push_str(".SH SEE ALSO\n.BR rackbmcd (8),\n.BR rackbmc (1)\n");
    page
}

fn is_key(line: &str) -> bool {
    let bare = line.strip_prefix('#').unwrap_or(line);
    bare.starts_with(|c: char| c.is_ascii_lowercase())
}

/// A line of text that troff takes for nothing else.
fn escaped(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_section_is_on_the_page_with_what_is_said_of_it() {
        let page = configuration();
        for expected in [
            ".SS [rack]\n",
            ".SS [[api.role]]\nRoles: \"reader\" looks",
            ".TP\n.B settle = \"10s\"\n.TQ\n.B rollback_settle = \"60s\"\nHow long a reading may lag",
            ".TP\n.B name = \"r1n[01\\-16]\"\n",
        ] {
            assert!(page.contains(expected), "{expected}:\n{page}");
        }
        for line in ANNOTATED.lines().filter(|line| is_key(line)) {
            let key = line.strip_prefix('#').unwrap_or(line);
            assert!(page.contains(&escaped(key)), "{key}");
        }
        assert!(!page.contains("\n.TP\n.TP"));
    }

    #[test]
    fn the_daemons_page_has_its_options_and_exit_codes() {
        let page = daemon();
        assert!(
            page.contains("check\\-config") && page.contains("\n78\n"),
            "{page}"
        );
        assert!(
            page.starts_with(".ie") || page.contains(".TH rackbmcd 8"),
            "{page}"
        );
    }
}
