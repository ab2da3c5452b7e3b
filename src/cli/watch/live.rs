//! `watch` on a terminal: one picture of the rack, drawn again and again on the terminal's other screen.
//!
//! What was on the terminal before is there again afterwards, whatever ends it: `q`, Ctrl-C, a signal, a failure. A daemon
//! that restarts is waited for, and the last picture stays.

use crate::cli::App;
use crate::cli::args::Watch;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{self, cut, words};
use crate::cli::select::{self, Unnamed};
use crate::cli::status;
use crate::model::{Node, Short, Task};
use async_signal::{Signal, Signals};
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::terminal::{
    self, Clear, ClearType, DisableLineWrap, EnableLineWrap, EnterAlternateScreen,
    LeaveAlternateScreen,
};
use crossterm::{execute, queue};
use smol::future::FutureExt;
use smol::stream::StreamExt;
use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::time::Duration;

/// Tasks that are asked for: more than fit on any screen.
const TASKS: u32 = 50;

/// Draws until somebody has seen enough.
pub async fn live(app: &App, args: &Watch) -> Result<Exit, Failure> {
    // The first look is made before anything is drawn: where there is no daemon, the terminal stays as it is.
    let mut picture = picture(app, args).await?;
    let trouble = |e: io::Error| Failure::Here(format!("the terminal cannot be drawn on: {e}"));
    let mut signals =
        Signals::new([Signal::Int, Signal::Term, Signal::Hup, Signal::Winch]).map_err(trouble)?;
    let keys = keys();
    let mut screen = Screen::enter().map_err(trouble)?;
    loop {
        screen.draw(&picture).map_err(trouble)?;
        let key = async { keys.recv().await.map_or(Wake::End, Wake::Key) };
        let signal = async {
            match signals.next().await {
                Some(Ok(Signal::Winch)) => Wake::Resized,
                _ => Wake::End,
            }
        };
        let due = async {
            smol::Timer::after(args.interval).await;
            Wake::Due
        };
        match signal.or(key).or(due).await {
            Wake::End | Wake::Key(b'q' | CTRL_C) => return Ok(Exit::Done),
            Wake::Key(_) | Wake::Resized => {}
            Wake::Due => match self::picture(app, args).await {
                Ok(next) => picture = next,
                Err(failure) if failure.may_pass() => {
                    let head = format!("{failure}; waiting for it to come back");
                    picture.head = output::harmless(&head, false);
                }
                Err(failure) => return Err(failure),
            },
        }
    }
}

enum Wake {
    Key(u8),
    Resized,
    Due,
    End,
}

/// What a terminal in raw mode gives for Ctrl-C.
const CTRL_C: u8 = 3;

/// What is typed, read by a thread that nobody waits for.
fn keys() -> smol::channel::Receiver<u8> {
    let (sender, keys) = smol::channel::unbounded();
    std::thread::spawn(move || {
        let mut byte = [0];
        while matches!(io::stdin().read(&mut byte), Ok(1)) {
            if sender.send_blocking(byte[0]).is_err() {
                return;
            }
        }
    });
    keys
}

/// What is to be seen.
struct Picture {
    head: String,
    /// Those that somebody should look at come first.
    nodes: String,
    tasks: Vec<String>,
}

async fn picture(app: &App, args: &Watch) -> Result<Picture, Failure> {
    let nodes = select::nodes(&app.client, &args.nodes, Unnamed::All).await?;
    let tasks = app.client.tasks(None, None, true, TASKS).await?;
    let health = app.client.health().await?;
    let pause = health
        .pause
        .map(|pause| format!(", paused by {}", pause.by));
    let head = format!(
        "rack {}: {}, {}, {} BMCs in trouble{}   (q: end)",
        health.rack,
        output::nodes(nodes.len()),
        output::counted(health.active_tasks as usize, "task"),
        health.troubled,
        pause.unwrap_or_default(),
    );
    Ok(Picture {
        head: output::harmless(&head, false),
        nodes: output::harmless(&status::for_people(app, &nodes), app.out.colour),
        tasks: task_lines(&nodes, &tasks),
    })
}

fn task_lines(nodes: &[Node], tasks: &[Task]) -> Vec<String> {
    let shown: HashSet<&str> = nodes.iter().map(select::name).collect();
    let here = tasks
        .iter()
        .filter(|task| shown.contains(task.node.as_str()));
    let line = |task: &Task| {
        let left = task.time_left.map(|left| format!(", {} left", words(left)));
        let text = format!(
            "{} {}: {} {}, {}, {}{}",
            Short::task(task.id),
            task.node,
            task.operation,
            task.state,
            task.phase,
            words(Duration::from_secs(task.elapsed.as_secs())),
            left.unwrap_or_default()
        );
        output::harmless(&text, false)
    };
    here.map(line).collect()
}

/// The lines that a terminal of that size has room for: the tasks get what the nodes leave, and at most half.
fn lines(picture: &Picture, columns: usize, rows: usize) -> Vec<String> {
    let nodes: Vec<&str> = picture.nodes.lines().collect();
    let room = rows.saturating_sub(1);
    let tasks = picture
        .tasks
        .len()
        .min(room.saturating_sub(nodes.len()).max(room / 2));
    let mut lines = vec![cut(&picture.head, columns)];
    let for_nodes = room - tasks;
    match nodes.len() > for_nodes {
        true => {
            let shown = for_nodes.saturating_sub(1);
            lines.extend(nodes[..shown].iter().map(|line| (*line).to_owned()));
            lines.push(format!("... and {} more lines", nodes.len() - shown));
        }
        false => lines.extend(nodes.iter().map(|line| (*line).to_owned())),
    }
    lines.extend(picture.tasks[..tasks].iter().map(|line| cut(line, columns)));
    lines.truncate(rows);
    lines
}

/// The terminal's other screen; what was there before is back when this is dropped.
struct Screen;

impl Screen {
    fn enter() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        // From here on the drop puts things right.
        let screen = Screen;
        execute!(io::stdout(), EnterAlternateScreen, Hide, DisableLineWrap)?;
        Ok(screen)
    }

    fn draw(&mut self, picture: &Picture) -> io::Result<()> {
        let (columns, rows) = terminal::size()?;
        let mut out = io::stdout().lock();
        for (row, line) in (0..rows).zip(lines(picture, columns.into(), rows.into())) {
            queue!(out, MoveTo(0, row))?;
            write!(out, "{line}")?;
            queue!(out, Clear(ClearType::UntilNewLine))?;
            if row + 1 < rows {
                queue!(out, MoveTo(0, row + 1))?;
            }
        }
        queue!(out, Clear(ClearType::FromCursorDown))?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing any more.
        let _ = execute!(io::stdout(), EnableLineWrap, Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_never_longer_than_the_terminal_and_says_what_is_left_out() {
        let picture = Picture {
            head: "rack r1".into(),
            nodes: (0..100)
                .map(|n| format!("n{n}"))
                .collect::<Vec<_>>()
                .join("\n"),
            tasks: (0..30).map(|n| format!("task {n}")).collect(),
        };
        for rows in [1, 2, 5, 24, 50] {
            let lines = lines(&picture, 80, rows);
            assert!(lines.len() <= rows, "{rows}: {lines:?}");
        }
        let shown = lines(&picture, 80, 24);
        assert_eq!(shown[11], "n10");
        assert_eq!(shown[12], "... and 89 more lines");
        assert_eq!(shown[13], "task 0");
    }
}
