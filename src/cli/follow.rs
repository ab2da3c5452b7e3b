//! Tasks followed until they end: long polls, progress on stderr, Ctrl-C, a daemon that restarts
//! meanwhile.
//!
//! Following never changes a task; the one exception is the second Ctrl-C, which aborts. Driven by
//! the power verbs, the controls, `task --wait` and `demo`.

use super::client::Client;
use super::exit::{Exit, Failure};
use super::output::say;
use super::output::{Out, cut, harmless, terminal_width};
use super::patience::{RESTART_BUDGET, RESTART_RETRY};
use crate::model::{Control, Short, Task, TaskId, TaskState, state_and_phase};
use async_signal::{Signal, Signals};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use smol::channel::{Receiver, Sender};
use smol::future::FutureExt;
use smol::stream::StreamExt;
use std::time::{Duration, Instant};

/// How long after the first Ctrl-C a second one aborts.
pub(super) const SECOND_CTRL_C: Duration = Duration::from_secs(3);
/// How long one long poll asks the daemon to wait.
const LONG_POLL: Duration = Duration::from_secs(20);
/// Time between two looks where there are several tasks.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// Time between two drawings of a live line.
const DRAW_EVERY: Duration = Duration::from_millis(100);
/// Live lines at once; the others are counted.
const LIVE_LINES: usize = 16;

/// How following came to its end.
#[derive(Debug)]
pub(super) enum Ending {
    /// Every task has ended.
    Ended(Vec<Task>),
    /// The wait ran out.
    OutOfTime(Vec<Task>),
    /// The person at the keyboard let go; the tasks go on.
    Detached(Vec<Task>),
}

impl Ending {
    /// The tasks as they were last seen.
    pub(super) fn tasks(&self) -> &[Task] {
        match self {
            Self::Ended(tasks) | Self::OutOfTime(tasks) | Self::Detached(tasks) => tasks,
        }
    }
}

/// What the poller saw.
enum Seen {
    Task(Box<Task>),
    DaemonAway(Failure),
    DaemonBack,
    GivenUp(Failure),
}

/// What the loop wakes up for.
enum Wake {
    Seen(Seen),
    Signal,
    Tick,
    OutOfTime,
}

/// Follows `tasks` until all have ended, `patience` runs out, or somebody presses Ctrl-C.
///
/// # Errors
/// Where the daemon stays away, or refuses to show a task.
pub(super) async fn follow(
    client: &Client,
    out: &Out,
    tasks: Vec<Task>,
    patience: Option<Duration>,
) -> Result<Ending, Failure> {
    let executor = smol::LocalExecutor::new();
    let (sender, receiver) = smol::channel::unbounded();
    let poller = executor.spawn(poll(client.clone(), tasks.clone(), sender));
    let ending = executor
        .run(watch(client, out, tasks, patience, receiver))
        .await;
    drop(poller);
    ending
}

/// Asks the daemon for news and sends them on; ends when every task has ended.
async fn poll(client: Client, tasks: Vec<Task>, news: Sender<Seen>) {
    let single = tasks.len() == 1;
    let mut open: Vec<(TaskId, u64)> = tasks
        .into_iter()
        .filter(|task| !task.ended)
        .map(|task| (task.id, task.version))
        .collect();
    let mut away_since: Option<Instant> = None;
    while !open.is_empty() {
        let mut still = Vec::new();
        let mut trouble = None;
        for (id, version) in open {
            if trouble.is_some() {
                still.push((id, version));
                continue;
            }
            let seen = if single {
                client.task_after(id, version, LONG_POLL).await
            } else {
                client.task(id).await
            };
            match seen {
                Ok(task) => {
                    if away_since.take().is_some() && news.send(Seen::DaemonBack).await.is_err() {
                        return;
                    }
                    if !task.ended {
                        still.push((id, task.version));
                    }
                    if news.send(Seen::Task(Box::new(task))).await.is_err() {
                        return;
                    }
                }
                Err(failure) => {
                    trouble = Some(failure);
                    still.push((id, version));
                }
            }
        }
        open = still;
        match trouble {
            Some(failure) if failure.may_pass() => {
                let since = *away_since.get_or_insert_with(Instant::now);
                let message = if since.elapsed() > RESTART_BUDGET {
                    Seen::GivenUp(failure)
                } else {
                    Seen::DaemonAway(failure)
                };
                let _ = news.send(message).await;
                smol::Timer::after(RESTART_RETRY).await;
            }
            Some(failure) => {
                let _ = news.send(Seen::GivenUp(failure)).await;
                return;
            }
            None if single => {}
            None => {
                smol::Timer::after(LOOK_EVERY).await;
            }
        }
    }
}

async fn watch(
    client: &Client,
    out: &Out,
    mut tasks: Vec<Task>,
    patience: Option<Duration>,
    news: Receiver<Seen>,
) -> Result<Ending, Failure> {
    let mut signals = Signals::new([Signal::Int])
        .map_err(|e| Failure::Here(format!("cannot listen for Ctrl-C: {e}")))?;
    let deadline = patience.map(|patience| Instant::now() + patience);
    let mut progress = Progress::new(out);
    let mut away = false;
    for task in &tasks {
        progress.changed(None, task);
    }
    loop {
        if tasks.iter().all(|task| task.ended) {
            progress.live.finish();
            return Ok(Ending::Ended(tasks));
        }
        progress.draw(&tasks);
        match wake(&news, &mut signals, deadline, progress.live.is_live()).await {
            Wake::Tick => {}
            Wake::Seen(Seen::Task(task)) => {
                if let Some(known) = tasks.iter_mut().find(|known| known.id == task.id) {
                    progress.changed(Some(known), &task);
                    *known = *task;
                }
                progress.seen_now();
            }
            Wake::Seen(Seen::DaemonAway(why)) => {
                if !away {
                    progress.live.say(&format!(
                        "{why}\nthe task is in the daemon's journal: waiting for it to come back"
                    ));
                }
                away = true;
            }
            Wake::Seen(Seen::DaemonBack) => {
                progress.live.say("rackbmcd is back");
                away = false;
            }
            Wake::Seen(Seen::GivenUp(why)) => {
                progress.live.finish();
                return Err(why);
            }
            Wake::OutOfTime => {
                progress.live.finish();
                return Ok(Ending::OutOfTime(tasks));
            }
            Wake::Signal => {
                progress.live.finish();
                return on_ctrl_c(client, out, tasks, &mut signals).await;
            }
        }
    }
}

async fn wake(
    news: &Receiver<Seen>,
    signals: &mut Signals,
    deadline: Option<Instant>,
    live: bool,
) -> Wake {
    let seen = async {
        match news.recv().await {
            Ok(seen) => Wake::Seen(seen),
            Err(_) => smol::future::pending().await,
        }
    };
    let signal = async {
        signals.next().await;
        Wake::Signal
    };
    let tick = async {
        if !live {
            smol::future::pending::<()>().await;
        }
        smol::Timer::after(DRAW_EVERY).await;
        Wake::Tick
    };
    let out_of_time = async {
        match deadline {
            Some(deadline) => smol::Timer::at(deadline).await,
            None => smol::future::pending().await,
        };
        Wake::OutOfTime
    };
    seen.or(signal).or(out_of_time).or(tick).await
}

/// Whether Ctrl-C is pressed once more within a few seconds.
pub(super) async fn pressed_again(signals: &mut Signals) -> bool {
    let again = async {
        signals.next().await;
        true
    };
    let waited = async {
        smol::Timer::after(SECOND_CTRL_C).await;
        false
    };
    again.or(waited).await
}

/// The first Ctrl-C lets go, a second one shortly after aborts.
async fn on_ctrl_c(
    client: &Client,
    out: &Out,
    tasks: Vec<Task>,
    signals: &mut Signals,
) -> Result<Ending, Failure> {
    let open: Vec<&Task> = tasks.iter().filter(|task| !task.ended).collect();
    let how = match (open.first(), open.len()) {
        (Some(task), 1) => format!("rackbmc abort {}", task.node),
        (first, _) => match first.and_then(|task| task.batch) {
            Some(batch) => format!("rackbmc abort {}", Short::batch(batch)),
            None => format!(
                "rackbmc abort {}",
                crate::nodeset::fold(open.iter().map(|task| task.node.as_str()))
            ),
        },
    };
    say!("\nlet go: the task goes on. To stop it: {how}");
    if out.live {
        say!(
            "(or press Ctrl-C once more within {} s)",
            SECOND_CTRL_C.as_secs()
        );
    }
    if !pressed_again(signals).await {
        return Ok(Ending::Detached(tasks));
    }
    let mut after = Vec::new();
    for task in tasks {
        if task.ended {
            after.push(task);
            continue;
        }
        let aborted = client.control(task.id, Control::Abort).await?;
        say!("{}: abort: {}", aborted.node, aborted.state);
        after.push(aborted);
    }
    if after.iter().all(|task| task.ended) {
        Ok(Ending::Ended(after))
    } else {
        Ok(Ending::Detached(after))
    }
}

/// What a task's end means for the exit code.
pub(super) fn exit_of(task: &Task) -> Exit {
    match task.state.known() {
        Some(TaskState::Succeeded) => Exit::Done,
        Some(TaskState::Aborted | TaskState::Cancelled | TaskState::RolledBack) => Exit::Withdrawn,
        Some(TaskState::Failed | TaskState::Stuck) => Exit::Failed,
        Some(
            TaskState::Queued
            | TaskState::Running
            | TaskState::Suspended
            | TaskState::Aborting
            | TaskState::RollingBack,
        ) => Exit::StillRunning,
        // A state of a newer daemon: only what was read back is a success.
        None if task.ended => Exit::Failed,
        None => Exit::StillRunning,
    }
}

/// Lines on stderr: such as renew themselves on a terminal, one for every change elsewhere, none if
/// quiet.
pub(super) struct Live {
    bar: Option<ProgressBar>,
    plain: bool,
    width: usize,
}

impl Live {
    pub(super) fn new(out: &Out) -> Self {
        let live = out.live && !out.quiet;
        let bar = live.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(ProgressStyle::with_template("{msg}").expect("a constant template"));
            bar
        });
        Self {
            plain: bar.is_none() && !out.quiet,
            bar,
            width: usize::from(terminal_width().unwrap_or(80)).saturating_sub(1),
        }
    }

    /// Whether something is drawn again and again.
    pub(super) fn is_live(&self) -> bool {
        self.bar.is_some()
    }

    /// Letters that a line may have.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn draw(&self, picture: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(harmless(picture, false));
        }
    }

    pub(super) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say!("{text}")),
            None if self.plain => say!("{text}"),
            None => {}
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The progress of tasks.
struct Progress {
    live: Live,
    seen: Instant,
}

impl Progress {
    fn new(out: &Out) -> Self {
        Self {
            live: Live::new(out),
            seen: Instant::now(),
        }
    }

    fn seen_now(&mut self) {
        self.seen = Instant::now();
    }

    /// Prints a line where a task's phase or state changed and nothing is drawn live.
    fn changed(&self, before: Option<&Task>, after: &Task) {
        let same =
            before.is_some_and(|before| before.phase == after.phase && before.state == after.state);
        if self.live.plain && !same && !after.ended {
            say!("{}", line(after, Duration::ZERO));
        }
    }

    fn draw(&self, tasks: &[Task]) {
        if self.live.is_live() {
            let picture = picture(tasks, self.seen.elapsed(), self.live.width);
            self.live.draw(&picture);
        }
    }
}

/// The live lines: the tasks that run, and how many others there are.
fn picture(tasks: &[Task], since_seen: Duration, width: usize) -> String {
    let open: Vec<&Task> = tasks.iter().filter(|task| !task.ended).collect();
    let mut running: Vec<&Task> = open.clone();
    running.sort_by_key(|task| task.state == TaskState::Queued);
    let mut lines: Vec<String> = running
        .iter()
        .take(LIVE_LINES)
        .map(|task| cut(&line(task, since_seen), width))
        .collect();
    if tasks.len() > 1 {
        let queued = open.iter().filter(|task| task.state == TaskState::Queued);
        let failed = tasks.iter().filter(|t| exit_of(t) == Exit::Failed).count();
        let mut counts = vec![
            format!("{} of {} ended", tasks.len() - open.len(), tasks.len()),
            format!("{} queued", queued.count()),
        ];
        if failed > 0 {
            counts.push(format!("{failed} failed"));
        }
        lines.push(cut(&counts.join(", "), width));
    }
    lines.join("\n")
}

/// One task in one line: node, step, time gone, time left, phase. What may be cut off comes last.
fn line(task: &Task, since_seen: Duration) -> String {
    let stands = task.state == TaskState::Queued || task.state == TaskState::Suspended;
    let passed = if stands || task.ended {
        Duration::ZERO
    } else {
        since_seen
    };
    let doing = match task.state.known() {
        Some(TaskState::Running) => task.phase.clone(),
        _ => state_and_phase(task.state.as_str(), &task.phase),
    };
    let left = task
        .time_left
        .map(|left| format!(", {} left", clock(left.saturating_sub(passed))))
        .unwrap_or_default();
    format!(
        "{}  {}/{}  {}{left}  {doing}",
        task.node,
        task.step,
        task.steps,
        clock(task.elapsed + passed),
    )
}

/// A duration as a clock shows it, `0:12` or `1:02:03`: a text that does not jump about while it is
/// redrawn.
pub(super) fn clock(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Operation, Word};

    fn task(node: &str, state: TaskState) -> Task {
        Task {
            node: node.into(),
            operation: Operation::SoftPowerOff.into(),
            state: state.into(),
            ended: state.is_end(),
            phase: "waiting for the machine to go down".into(),
            step: 2,
            steps: 3,
            elapsed: Duration::from_millis(12_200),
            time_left: Some(Duration::from_secs(588)),
            ..Task::default()
        }
    }

    #[test]
    fn a_live_line_says_phase_time_gone_and_time_left() {
        let picture = picture(
            &[task("r1n03", TaskState::Running)],
            Duration::from_millis(900),
            100,
        );
        assert_eq!(
            picture,
            "r1n03  2/3  0:13, 9:47 left  waiting for the machine to go down"
        );
    }

    #[test]
    fn the_clock_of_a_suspended_task_stands_still() {
        let shown = line(
            &task("r1n03", TaskState::Suspended),
            Duration::from_secs(100),
        );
        assert_eq!(
            shown,
            "r1n03  2/3  0:12, 9:48 left  suspended: waiting for the machine to go down"
        );
    }

    #[test]
    fn many_tasks_are_counted_and_the_running_ones_come_first() {
        let mut tasks: Vec<Task> = (0..40)
            .map(|n| task(&format!("n{n}"), TaskState::Queued))
            .collect();
        tasks[39] = task("n39", TaskState::Running);
        tasks[0] = task("n0", TaskState::Failed);
        let picture = picture(&tasks, Duration::ZERO, 80);
        assert_eq!(picture.lines().count(), LIVE_LINES + 1);
        assert!(picture.starts_with("n39 "), "{picture}");
        assert!(
            picture.ends_with("1 of 40 ended, 38 queued, 1 failed"),
            "{picture}"
        );
        assert!(picture.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn a_clock_shows_whole_seconds() {
        assert_eq!(clock(Duration::ZERO), "0:00");
        assert_eq!(clock(Duration::from_millis(59_900)), "0:59");
        assert_eq!(clock(Duration::from_secs(3723)), "1:02:03");
    }

    #[test]
    fn every_state_has_its_exit_code() {
        for (state, code) in [
            (TaskState::Succeeded, 0),
            (TaskState::Failed, 1),
            (TaskState::Stuck, 1),
            (TaskState::Running, 5),
            (TaskState::Aborted, 6),
        ] {
            assert_eq!(exit_of(&task("n", state)) as u8, code, "{state}");
        }
    }

    #[test]
    fn a_state_of_a_newer_daemon_is_no_success() {
        let mut newer = task("n", TaskState::Running);
        newer.state = Word::of("evaporated");
        assert_eq!(exit_of(&newer), Exit::StillRunning);
        newer.ended = true;
        assert_eq!(exit_of(&newer), Exit::Failed);
    }
}
