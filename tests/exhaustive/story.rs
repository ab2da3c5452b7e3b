//! One story: a scene with its faults, told to its end under the watch, and what must be so
//! afterwards.

use crate::fault::{Act, Fault, Length};
use crate::scene::Scene;
use crate::watch::{Asked, Watched};
use crate::world::{World, address, millis, secs, who};
use rackbmcd::bmc::identity::as_written;
use rackbmcd::model::{Control, Operation, Power, PowerState, TaskId, TaskState};
use rackbmcd::rack::call::{Answer, Call, CallId, Look, Refused};
use rackbmcd::sim::{ChassisOrder, Mishap, Privilege, guid_of};
use rackbmcd::time::Instant;
use std::collections::VecDeque;
use std::time::Duration;
use uuid::Uuid;

/// See the head of this file.
pub(crate) struct Story {
    pub scene: Scene,
    pub watched: Watched,
    /// Counts at the moment of the request.
    base: Length,
    events: u64,
    mark: (usize, u32, usize),
    acts: VecDeque<(u64, Act)>,
    /// When it has ended, whatever befalls it.
    limit: Instant,
    /// What somebody does at a moment.
    due: Vec<(Instant, Due)>,
    pub wrong_readings: bool,
    /// How many orders the machine had carried out when its BMC became another one to us.
    other_since: Option<usize>,
    /// Whether that was by its GUID, and not by our level.
    swapped: bool,
    /// How many things go wrong.
    faults: usize,
}

#[derive(Clone, Copy)]
enum Due {
    Use(Control),
    Resume(TaskId),
    Ask(Operation),
    /// The BMC is the right one again, and our user may switch.
    PutRight,
    /// Somebody says that the BMC that is there now shall be the node's.
    Accept,
}

/// What a call brought.
pub(crate) type Answered = Result<Answer, Refused>;

/// Tells a story: how long it was, or which promise was broken.
pub(crate) fn tell(scene: Scene, faults: &[Fault]) -> Result<Length, String> {
    let mut story = Story::begin(scene, faults)?;
    story.go_on()?;
    let length = story.length();
    story.settle()?;
    Ok(length)
}

impl Story {
    fn begin(scene: Scene, faults: &[Fault]) -> Result<Self, String> {
        let watched = scene.open()?;
        let base = count(&watched.world);
        let mut story = Self {
            scene,
            limit: watched.world.now + LONGEST,
            watched,
            base,
            events: 0,
            mark: (0, 0, 0),
            acts: VecDeque::new(),
            due: Vec::new(),
            wrong_readings: false,
            other_since: None,
            swapped: false,
            faults: faults.len(),
        };
        story.mark = mark(&story.watched.world);
        let mut acts = Vec::new();
        for fault in faults {
            match *fault {
                Fault::Act(number, act) => acts.push((number, act)),
                other => story.place(other),
            }
        }
        acts.sort_by_key(|(number, _)| *number);
        story.acts = acts.into();
        if let Some((after, control)) = scene.control() {
            let at = story.watched.world.now + after;
            story.due.push((at, Due::Use(control)));
        }
        Ok(story)
    }

    /// Prepares a fault that happens by itself.
    fn place(&mut self, fault: Fault) {
        let (base, world) = (self.base, &mut self.watched.world);
        self.watched.watch.refuses_once |= matches!(fault, Fault::Answered(..));
        match fault {
            Fault::Datagram(number, mishap) => {
                self.watched.watch.held_back |= matches!(mishap, Mishap::Late(_));
                let link = world.sim.link_mut(address(0)).expect("one of ours");
                link.befall(base.datagrams + number - 1, mishap);
            }
            Fault::Answered(number, code) => {
                world.mood("n01").refused_request = Some((base.commands + number, code));
            }
            Fault::WrongReading(number) => {
                world.mood("n01").wrong_reading = Some(base.commands + number);
                self.wrong_readings = true;
                self.watched.watch.misread = true;
            }
            Fault::Refused(number) => {
                world.refuses_commit = Some(base.commits + number);
                self.watched.watch.record_refused();
            }
            Fault::KilledAt(number) => world.killed_at_commit = Some(base.commits + number),
            Fault::Act(..) => {}
        }
    }

    /// From the request until nothing is under way any more.
    fn go_on(&mut self) -> Result<(), String> {
        self.ask(self.scene.operation);
        loop {
            let acted = self.act_where_due()?;
            let before = self.events;
            let now = self.watched.world.now;
            if now >= self.limit {
                let active: Vec<_> = self.watched.watch.active.iter().copied().collect();
                let task = self.watched.world.task(active[0]);
                return Err(format!("it does not end: {task:#?}"));
            }
            let due = self.due.iter().map(|(at, _)| *at).min();
            let end = due.map_or(now + secs(1), |at| at.min(now + secs(1)));
            let next = self.acts.front().map(|(number, _)| *number);
            let reached = |events: u64| next.is_some_and(|number| events >= number);
            self.run_until(end, |_, events| reached(events))?;
            let still = self.watched.watch.active.is_empty() && self.due.is_empty();
            if still && !acted && self.events == before {
                return Ok(());
            }
        }
    }

    /// Lets the world go on, counting events; a daemon that was killed is started again.
    fn run_until(
        &mut self,
        end: Instant,
        mut done: impl FnMut(&World, u64) -> bool,
    ) -> Result<bool, String> {
        let (events, seen) = (&mut self.events, &mut self.mark);
        let ended = self.watched.run_until(end, |world| {
            let now = mark(world);
            *events += u64::from(now != *seen);
            *seen = now;
            !world.is_running() || done(world, *events)
        })?;
        if !self.watched.world.is_running() {
            self.watched.crash(Some(AWAY))?;
            self.mark = mark(&self.watched.world);
        }
        Ok(ended)
    }

    /// Does what is due now; whether there was anything.
    fn act_where_due(&mut self) -> Result<bool, String> {
        let mut acted = false;
        while let Some((number, act)) = self.acts.front().copied() {
            if number > self.events {
                break;
            }
            self.acts.pop_front();
            self.act(act)?;
            acted = true;
        }
        let now = self.watched.world.now;
        while let Some(place) = self.due.iter().position(|(at, _)| *at <= now) {
            match self.due.remove(place).1 {
                Due::Use(control) => self.control(control)?,
                Due::Resume(task) => self.watched.control(task, Control::Resume),
                Due::Ask(operation) => self.ask(operation),
                Due::PutRight => self.put_right()?,
                Due::Accept => self.accept()?,
            }
            acted = true;
        }
        let tasks = &self.watched.watch.tasks;
        let stands = tasks
            .iter()
            .find(|(_, seen)| seen.state == TaskState::Suspended && !seen.resuming);
        if let Some((id, _)) = stands
            && self.due.is_empty()
        {
            self.due.push((now + SUSPENDED_FOR, Due::Resume(*id)));
        }
        Ok(acted)
    }

    fn act(&mut self, act: Act) -> Result<(), String> {
        self.watched.watch.look(&mut self.watched.world)?;
        match act {
            Act::Kill => self.watched.crash(Some(AWAY))?,
            Act::Stop => self.watched.stop(Some(AWAY))?,
            Act::Reload => {
                let mut settings = self.watched.world.settings.clone();
                settings.max_transitions = 3;
                settings.power_on_stagger = millis(700);
                let nodes = self.watched.world.nodes.clone();
                self.watched.world.reload(settings, nodes)?;
                self.watched.watch.reloaded();
            }
            Act::StandStill { catches_up } => {
                self.watched.stand_still(STANDS_STILL, catches_up)?;
                self.due.iter_mut().for_each(|(at, _)| *at += STANDS_STILL);
                self.limit += STANDS_STILL;
            }
            Act::SetCalendar(hours) => self.watched.world.set_calendar(hours * 3600),
            Act::Use(control) => self.control(control)?,
            Act::Word(word) => self.abort(Some(word))?,
            Act::Ask(operation) => self.ask(operation),
            Act::TakeOver(operation, from) => self.take_over(operation, from)?,
            Act::Swap => {
                let known = self.known_guid().is_some();
                self.watched.world.bmc("n01").settings_mut().guid = guid_of("n99");
                self.other(known);
                self.swapped = true;
            }
            Act::Lower => {
                let bmc = self.watched.world.bmc("n01");
                bmc.settings_mut().users[0].privilege = Privilege::User;
                self.other(true);
            }
            Act::AbortThen(operation) => {
                self.abort(None)?;
                let at = self.watched.world.now + millis(300);
                self.due.push((at, Due::Ask(operation)));
            }
        }
        self.mark = mark(&self.watched.world);
        Ok(())
    }

    /// From now on the BMC is another one to us, for a while: nothing that it is told may be
    /// carried out. A daemon that has not met any before takes it for the node's: then the first
    /// one is the other.
    fn other(&mut self, known: bool) {
        let now = self.watched.world.now;
        self.watched.watch.logs_in_anew = true;
        let bmc = self.watched.world.bmc("n01");
        bmc.forget_sessions();
        self.other_since = known.then(|| bmc.host().executed().len());
        self.swapped = false;
        self.due.push((now + SUSPENDED_FOR, Due::PutRight));
    }

    /// What is told of the BMC under this head.
    fn explained(&mut self, head: &str) -> Option<String> {
        let look = Call::Look(Look::Explain("n01".to_owned()));
        let Ok(Answer::Explanation(found)) = self.watched.world.call(look) else {
            return None;
        };
        let mut facts = found.facts.into_iter();
        facts.find(|fact| fact.head == head).map(|fact| fact.text)
    }

    /// The GUID of the BMC that is the node's, once the daemon has met one.
    fn known_guid(&mut self) -> Option<String> {
        self.explained("GUID")
    }

    /// Whether the daemon has seen the GUID go back and forth, and says that it is ignored.
    fn is_ignored(&mut self) -> bool {
        self.explained("identity").is_some()
    }

    /// Whether the daemon takes the other BMC for the node's.
    fn is_taken(&mut self) -> bool {
        let other = as_written(Uuid::from_bytes(guid_of("n99")));
        self.known_guid() == Some(other.to_string())
    }

    fn put_right(&mut self) -> Result<(), String> {
        let bmc = self.watched.world.bmc("n01");
        let executed = bmc.host().executed().len();
        bmc.settings_mut().guid = guid_of("n01");
        bmc.settings_mut().users[0].privilege = Privilege::Administrator;
        bmc.forget_sessions();
        let node = "n01".to_owned();
        let who = who();
        self.watched.world.ask(Call::Retry { node, who });
        let before = self.other_since.take();
        if self.is_taken() {
            self.other_since = Some(executed);
            let node = "n01".to_owned();
            self.watched.world.ask(Call::FreshNode(node));
            let at = self.watched.world.now + SUSPENDED_FOR;
            self.due.push((at, Due::Accept));
        }
        self.nothing_since(before)
    }

    /// Nothing was carried out beyond these orders.
    fn nothing_since(&mut self, before: Option<usize>) -> Result<(), String> {
        let executed = self.watched.world.bmc("n01").host().executed().len();
        match before {
            // A GUID that goes back and forth is ignored, and the daemon says so.
            Some(before) if executed > before && self.swapped && self.is_ignored() => Ok(()),
            Some(before) if executed > before => {
                Err("an order was carried out that was for another BMC, or not allowed".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// The BMC that is there shall be the node's, which was another one to a daemon that had met
    /// the other first.
    fn accept(&mut self) -> Result<(), String> {
        let before = self.other_since.take();
        // One that was killed may know of none any more.
        if !self.is_taken() {
            return Ok(());
        }
        self.nothing_since(before)?;
        let (node, who) = ("n01".to_owned(), who());
        match self.watched.world.bmc_change("n01") {
            Some(change) => {
                let guid = change.is;
                self.watched.world.ask(Call::Accept { node, guid, who });
            }
            // It was not met yet.
            None => {
                self.other_since = before;
                self.watched.world.ask(Call::FreshNode(node));
                let at = self.watched.world.now + SUSPENDED_FOR;
                self.due.push((at, Due::Accept));
            }
        }
        Ok(())
    }

    fn ask(&mut self, operation: Operation) {
        let options = self.scene.options();
        let asked = match options.timeout {
            Some(_) => Asked::Timed,
            None => Asked::Other,
        };
        let call = Call::Start {
            node: "n01".to_owned(),
            operation,
            options,
            who: who(),
        };
        self.watched.ask(call, asked);
    }

    fn control(&mut self, control: Control) -> Result<(), String> {
        if control == Control::Abort {
            return self.abort(None);
        }
        if let Some(task) = self.task() {
            self.watched.control(task, control);
        }
        Ok(())
    }

    /// The task that has the node.
    pub(crate) fn task(&self) -> Option<TaskId> {
        let watch = &self.watched.watch;
        let mut active = watch.active.iter();
        active.find(|id| watch.tasks[*id].node == 0).copied()
    }

    /// Waits for an answer, as long as a person would; `None` where the daemon was killed
    /// meanwhile.
    pub(crate) fn answer(&mut self, call: CallId) -> Result<Option<Answered>, String> {
        let lives = self.watched.world.lives;
        let end = self.watched.world.now + secs(5);
        self.run_until(end, |world, _| world.has_answered(call))?;
        match self.watched.world.take_answer(call) {
            Some(answer) => Ok(Some(answer)),
            None if self.watched.world.lives > lives => Ok(None),
            None => Err("there was no answer within 5 s".to_owned()),
        }
    }

    /// Some time later: what is shown is so, what was done has stayed, and the disk knows it.
    fn settle(&mut self) -> Result<(), String> {
        self.watched.world.mood("n01").wrong_reading = None;
        let mut end = self.watched.world.now + secs(80);
        // Each further fault may befall one more reading, and the next comes an interval later.
        for _ in 1..self.faults {
            end += self.watched.world.settings.sync_interval;
        }
        while self.watched.world.now < end {
            self.run_until(end, |_, _| false)?;
        }
        let node = self.watched.world.node("n01");
        let on = self.watched.world.is_on("n01");
        let shown = node.power_state;
        let wanted = PowerState::from(if on { Power::On } else { Power::Off });
        if shown != wanted {
            return Err(format!(
                "at last {shown:?} is shown, and the machine is on: {on}"
            ));
        }
        if node.target_power_state.is_some() || node.rackbmcd.task.is_some() {
            return Err("the node is still held by a task that has ended".to_owned());
        }
        if let Some(fault) = node.rackbmcd.fault {
            return Err(format!("at last there is a fault: {fault}"));
        }
        if !self.wrong_readings {
            self.watched.nothing_is_unexplained("n01")?;
        }
        let Watched { world, watch, .. } = &mut self.watched;
        // A cycle is over when the machine was seen off: who is told so wrongly cannot know better.
        if !(self.wrong_readings && self.scene.operation == Operation::Cycle) {
            watch.judge_rest(world)?;
        }
        watch.judge_machines(world)?;
        let hard = world.executed("n01", ChassisOrder::Off);
        // Another request, or the one that took the place of one that the disk refused.
        let mut tasks = watch.tasks.values().filter(|seen| seen.node == 0);
        let alone = tasks.all(|seen| seen.operation == self.scene.operation);
        if self.scene.on && !self.scene.may_turn_hard() && alone && hard > 0 {
            return Err("it was switched off hard, and nobody had asked for that".to_owned());
        }
        watch.all_is_durable()?;
        self.watched.crash(None)
    }

    fn length(&self) -> Length {
        let now = count(&self.watched.world);
        Length {
            datagrams: now.datagrams - self.base.datagrams,
            commands: now.commands - self.base.commands,
            commits: now.commits - self.base.commits,
            events: self.events,
        }
    }
}

/// What has happened so far.
fn count(world: &World) -> Length {
    let address = address(0);
    let bmc = world.sim.bmc(address).expect("one of ours");
    let link = world.sim.link(address).expect("one of ours");
    Length {
        datagrams: link.carried(),
        commands: bmc.counters().requests,
        commits: world.tried,
        ..Length::default()
    }
}

/// Changes with every event: a datagram that leaves or comes, a commit that is tried.
fn mark(world: &World) -> (usize, u32, usize) {
    (world.left.len(), world.arrived, world.tried)
}

/// No operation may take longer, whatever befalls it.
const LONGEST: Duration = Duration::from_secs(1_500);
/// For so long the daemon is away.
const AWAY: Duration = Duration::from_secs(3);
/// For so long it stands still.
const STANDS_STILL: Duration = Duration::from_secs(600);
/// For so long a task is left suspended.
const SUSPENDED_FOR: Duration = Duration::from_secs(8);
