//! The model: a restore with its tasks, workers and messages, driven by random events against the
//! pure state machines. Messages are delivered in any order, late, twice or never; workers die and
//! fail; people pause, cancel, retry. proptest shrinks what breaks an invariant.
//!
//! The driver here does what the scheduler's does (`scheduler/src/workflow`), without a database:
//! it carries out the effects that `transition` returns, and nothing else.

use chrono::{DateTime, Duration, Utc};
use proptest::prelude::*;
use ringvault_core::{
    TaskError, WorkerId,
    job::{
        self, Ended, Job, JobEffect, JobEvent, JobKind, JobSpec, JobState, StageKind, StageVerdict,
        stage_verdict, stages_of,
    },
    task::{self, RetryRules, Task, TaskEffect, TaskEvent, TaskState},
};

/// Tasks of a stage that every node takes part in.
const NODES: usize = 3;

/// What travels between scheduler and workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Offer { task: usize, epoch: u32, seq: u32 },
    Started { task: usize, epoch: u32, seq: u32 },
    Grant { task: usize, epoch: u32 },
    Stop { task: usize, epoch: u32 },
    Succeeded { task: usize, epoch: u32 },
    Failed { task: usize, epoch: u32, how: How },
    Stopped { task: usize, epoch: u32, lost: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Transient,
    Environment,
    Permanent,
}

impl How {
    fn error(self) -> TaskError {
        match self {
            Self::Transient => TaskError::transient("T", "fails"),
            Self::Environment => TaskError::environment("E", "waits"),
            Self::Permanent => TaskError::permanent("P", "cannot"),
        }
    }
}

/// What can happen. Numbers are taken modulo what there is to choose from.
#[derive(Debug, Clone)]
enum Act {
    Place(usize),
    NoWorker(usize),
    Deliver(usize),
    DeliverAndKeep(usize),
    Lose(usize),
    DispatchTimeout(usize),
    LeaseExpiry(usize),
    Unroutable(usize),
    WorkDone(usize),
    WorkFails(usize, How),
    WorkerDies(usize),
    Told(JobEvent),
    CleanupOver,
    Later(i64),
}

fn any_act() -> impl Strategy<Value = Act> {
    let n = 0..64_usize;
    let how = prop_oneof![4 => Just(How::Transient), 2 => Just(How::Environment), 1 => Just(How::Permanent)];
    let told = prop_oneof![
        Just(JobEvent::Pause),
        Just(JobEvent::Resume),
        Just(JobEvent::Cancel),
        Just(JobEvent::Retry { now: DateTime::UNIX_EPOCH }),
        Just(JobEvent::Abandon),
        Just(JobEvent::RetryWindowOver),
    ];
    prop_oneof![
        8 => n.clone().prop_map(Act::Place),
        1 => n.clone().prop_map(Act::NoWorker),
        16 => n.clone().prop_map(Act::Deliver),
        4 => n.clone().prop_map(Act::DeliverAndKeep),
        2 => n.clone().prop_map(Act::Lose),
        2 => n.clone().prop_map(Act::DispatchTimeout),
        2 => n.clone().prop_map(Act::LeaseExpiry),
        1 => n.clone().prop_map(Act::Unroutable),
        10 => n.clone().prop_map(Act::WorkDone),
        2 => (n.clone(), how).prop_map(|(n, how)| Act::WorkFails(n, how)),
        1 => n.prop_map(Act::WorkerDies),
        2 => told.prop_map(Act::Told),
        1 => Just(Act::CleanupOver),
        2 => (1..600_i64).prop_map(Act::Later),
    ]
}

#[derive(Debug, Clone)]
struct ModelTask {
    stage: usize,
    kind: StageKind,
    cleanup: bool,
    machine: Task,
    /// Epochs that were granted, in order; a lost grant is sent again with its pair.
    granted: Vec<u32>,
    /// Epochs that a worker works in now. More than one: an old one does not know yet that it is old.
    working: Vec<u32>,
}

struct World {
    spec: JobSpec,
    rules: RetryRules,
    now: DateTime<Utc>,
    job: Job,
    tasks: Vec<ModelTask>,
    messages: Vec<Message>,
    opened: Vec<usize>,
    cleanup_opened: bool,
    released: u32,
    workers: u128,
}

type Checked<T = ()> = Result<T, TestCaseError>;

/// The driver.
impl World {
    fn new() -> Self {
        let spec: JobSpec = serde_json::from_value(serde_json::json!({
            "kind": "restore", "source": "a", "backup": "b", "target": "c", "truncate": true, "confirm": "c",
        }))
        .expect("a restore");
        Self {
            job: Job::new(JobKind::Restore, stages_of(&spec)),
            spec,
            rules: RetryRules::default(),
            now: DateTime::UNIX_EPOCH,
            tasks: Vec::new(),
            messages: Vec::new(),
            opened: Vec::new(),
            cleanup_opened: false,
            released: 0,
            workers: 0,
        }
    }

    fn job_event(&mut self, event: JobEvent) -> Checked {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let was = self.job.state;
            let (machine, effects) = job::transition(&self.job, &event)
                .map_err(|why| TestCaseError::fail(format!("the driver asks for {event:?}: {why}")))?;
            prop_assert!(!was.is_final(), "{was:?} changed by {event:?}");
            self.job = machine;
            for effect in effects {
                if let Some(follows) = self.carry_out(effect)? {
                    next = Some(follows);
                }
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, effect: JobEffect) -> Checked<Option<JobEvent>> {
        match effect {
            JobEffect::OpenStage(kind) => {
                prop_assert!(!self.opened.contains(&self.job.stage), "stage {kind:?} opens twice");
                self.opened.push(self.job.stage);
                self.insert(kind, false);
                Ok(self.stage_event())
            }
            JobEffect::StopTasks => {
                let keep = self.job.state == JobState::Paused;
                for index in self.open_tasks() {
                    let machine = &self.tasks[index].machine;
                    if machine.state == TaskState::Running {
                        self.messages.push(Message::Stop { task: index, epoch: machine.epoch });
                    } else {
                        self.apply_to_task(index, &TaskEvent::TakeBack { keep })?;
                    }
                }
                Ok(None)
            }
            JobEffect::ResumeTasks => Ok(self.stage_event()),
            JobEffect::ReopenFailedTasks => {
                for index in 0..self.tasks.len() {
                    let task = &self.tasks[index];
                    let is_open = task.stage == self.job.stage && !task.cleanup;
                    if is_open && task.machine.state == TaskState::Failed {
                        self.apply_to_task(index, &TaskEvent::Reopen)?;
                    }
                }
                Ok(self.stage_event())
            }
            JobEffect::OpenCleanup => Ok(self.cleanup_event()),
            JobEffect::ReleaseHolds => {
                self.released += 1;
                Ok(None)
            }
            JobEffect::Announce => Ok(None),
        }
    }

    fn insert(&mut self, kind: StageKind, cleanup: bool) {
        use StageKind::{Plan, Schema, Truncate, Validate};
        let count = if matches!(kind, Plan | Schema | Truncate | Validate) { 1 } else { NODES };
        let (stage, machine) = (self.job.stage, Task::new(self.now));
        let task = ModelTask { stage, kind, cleanup, machine, granted: Vec::new(), working: Vec::new() };
        self.tasks.extend(std::iter::repeat_n(task, count));
    }

    fn of_stage(&self, cleanup: bool) -> impl Iterator<Item = &ModelTask> {
        let stage = self.job.stage;
        self.tasks.iter().filter(move |task| task.stage == stage && task.cleanup == cleanup)
    }

    fn open_tasks(&self) -> Vec<usize> {
        let is_open =
            |task: &ModelTask| task.stage == self.job.stage && !task.cleanup && !task.machine.state.is_over();
        (0..self.tasks.len()).filter(|index| is_open(&self.tasks[*index])).collect()
    }

    fn stage_event(&self) -> Option<JobEvent> {
        let stage = self.job.current_stage()?;
        let is_over = self.of_stage(false).all(|task| task.machine.state.is_over());
        if self.job.state != JobState::Running || !is_over {
            return None;
        }
        let count = |state| {
            u32::try_from(self.of_stage(false).filter(|task| task.machine.state == state).count())
                .expect("few")
        };
        let ended = Ended {
            succeeded: count(TaskState::Succeeded),
            failed: count(TaskState::Failed),
            given_up: count(TaskState::Cancelled),
        };
        Some(match stage_verdict(&self.spec, stage, ended) {
            StageVerdict::Pass => JobEvent::StagePassed,
            StageVerdict::Fail => JobEvent::StageFailed { retry_until: self.now + Duration::hours(1) },
        })
    }

    fn cleanup_event(&mut self) -> Option<JobEvent> {
        if !matches!(self.job.state, JobState::Cancelling | JobState::Abandoning) {
            return None;
        }
        if !self.cleanup_opened {
            if !self.of_stage(false).all(|task| task.machine.state.is_over()) {
                return None;
            }
            self.cleanup_opened = true;
            self.insert(StageKind::Release, true);
        }
        self.of_stage(true).all(|task| task.machine.state.is_over()).then_some(JobEvent::CleanedUp)
    }

    fn task_event(&mut self, index: usize, event: &TaskEvent) -> Checked {
        if self.apply_to_task(index, event)? && self.tasks[index].machine.state.is_over() {
            let follows = self.stage_event().or_else(|| self.cleanup_event());
            if let Some(event) = follows {
                self.job_event(event)?;
            }
        }
        Ok(())
    }

    fn apply_to_task(&mut self, index: usize, event: &TaskEvent) -> Checked<bool> {
        let changed = self.transit(index, event)?;
        let ending = matches!(self.job.state, JobState::Cancelling | JobState::Abandoning);
        let task = &self.tasks[index];
        if ending && !task.cleanup && task.machine.state == TaskState::Ready {
            self.transit(index, &TaskEvent::TakeBack { keep: false })?;
        }
        Ok(changed)
    }

    fn transit(&mut self, index: usize, event: &TaskEvent) -> Checked<bool> {
        let before = self.tasks[index].machine.clone();
        let (next, effects) = task::transition(&before, event, &self.rules, self.now, 0.5)
            .map_err(|why| TestCaseError::fail(format!("the driver asks for {event:?}: {why}")))?;
        let changed = next != before || !effects.is_empty();
        if epoch_of(event).is_some_and(|epoch| epoch != before.epoch) {
            prop_assert!(!changed, "{event:?} of another epoch changes {before:?}");
        }
        if matches!(before.state, TaskState::Succeeded | TaskState::Cancelled) {
            prop_assert!(!changed, "{event:?} changes a task that is {:?}", before.state);
        }
        prop_assert!(next.epoch >= before.epoch, "the epoch falls");
        let task = &mut self.tasks[index];
        task.machine = next;
        let (epoch, seq) = (task.machine.epoch, task.machine.dispatch_seq);
        for effect in effects {
            match effect {
                TaskEffect::SendOffer => self.messages.push(Message::Offer { task: index, epoch, seq }),
                TaskEffect::SendGrant => {
                    let last = task.granted.last().copied().unwrap_or_default();
                    prop_assert!(epoch >= last, "epoch {epoch} is granted after {last}");
                    if epoch > last {
                        task.granted.push(epoch);
                    }
                    self.messages.push(Message::Grant { task: index, epoch });
                }
                TaskEffect::CloseAttempt | TaskEffect::JudgeBarrier => {}
            }
        }
        Ok(changed)
    }
}

/// Workers, messages, time.
impl World {
    fn deliver(&mut self, message: Message) -> Checked {
        match message {
            Message::Offer { task, epoch, seq } => self.messages.push(Message::Started { task, epoch, seq }),
            Message::Started { task, epoch, seq } => {
                self.task_event(task, &TaskEvent::Started { epoch, dispatch_seq: seq })?;
            }
            // A grant may be late: then its worker does the work once more, and reports it in vain.
            Message::Grant { task, epoch } => {
                if !self.tasks[task].working.contains(&epoch) {
                    self.tasks[task].working.push(epoch);
                }
            }
            Message::Stop { task, epoch } => {
                // Whoever does not know the task says so.
                let lost = !self.tasks[task].working.contains(&epoch);
                self.ends(task, epoch);
                self.messages.push(Message::Stopped { task, epoch, lost });
            }
            Message::Succeeded { task, epoch } => self.task_event(task, &TaskEvent::Succeeded { epoch })?,
            Message::Failed { task, epoch, how } => {
                self.task_event(task, &TaskEvent::Failed { epoch, error: how.error() })?;
            }
            Message::Stopped { task, epoch, lost } => {
                self.task_event(task, &TaskEvent::Stopped { epoch, lost })?;
            }
        }
        Ok(())
    }

    fn ends(&mut self, task: usize, epoch: u32) {
        self.tasks[task].working.retain(|working| *working != epoch);
    }

    /// Who works on what: index of the task and epoch.
    fn work(&self) -> Vec<(usize, u32)> {
        let mut work = Vec::new();
        for (index, task) in self.tasks.iter().enumerate() {
            work.extend(task.working.iter().map(|epoch| (index, *epoch)));
        }
        work
    }

    fn in_state(&self, state: TaskState) -> Vec<usize> {
        (0..self.tasks.len()).filter(|index| self.tasks[*index].machine.state == state).collect()
    }

    /// Tasks that may be placed: ready, due, and of a job that wants them.
    fn placeable(&self) -> Vec<usize> {
        let ending = matches!(self.job.state, JobState::Cancelling | JobState::Abandoning);
        let mut ready = self.in_state(TaskState::Ready);
        ready.retain(|index| {
            let task = &self.tasks[*index];
            let wanted = if task.cleanup { ending } else { self.job.state == JobState::Running };
            wanted && task.machine.run_at <= self.now
        });
        ready
    }

    fn act(&mut self, act: &Act) -> Checked {
        match act {
            Act::Place(n) => {
                if let Some(index) = choose(&self.placeable(), *n) {
                    self.place(index)?;
                }
            }
            Act::NoWorker(n) => {
                if let Some(index) = choose(&self.placeable(), *n) {
                    self.task_event(index, &TaskEvent::NoWorker { error: How::Environment.error() })?;
                }
            }
            Act::Deliver(n) => {
                if let Some(message) = self.lose(*n) {
                    self.deliver(message)?;
                }
            }
            Act::DeliverAndKeep(n) => {
                if let Some(message) = choose(&self.messages, *n) {
                    self.deliver(message)?;
                }
            }
            Act::Lose(n) => {
                self.lose(*n);
            }
            Act::DispatchTimeout(n) => {
                if let Some(index) = choose(&self.in_state(TaskState::Dispatched), *n) {
                    self.task_event(index, &TaskEvent::DispatchTimedOut)?;
                }
            }
            Act::LeaseExpiry(n) => {
                if let Some(index) = choose(&self.in_state(TaskState::Running), *n) {
                    self.task_event(index, &TaskEvent::LeaseExpired)?;
                }
            }
            Act::Unroutable(n) => {
                if let Some(index) = choose(&self.in_state(TaskState::Dispatched), *n) {
                    let epoch = self.tasks[index].machine.epoch;
                    self.task_event(index, &TaskEvent::Unroutable { epoch })?;
                }
            }
            Act::WorkDone(n) => {
                if let Some((task, epoch)) = choose(&self.work(), *n) {
                    self.ends(task, epoch);
                    self.messages.push(Message::Succeeded { task, epoch });
                }
            }
            Act::WorkFails(n, how) => {
                if let Some((task, epoch)) = choose(&self.work(), *n) {
                    self.ends(task, epoch);
                    self.messages.push(Message::Failed { task, epoch, how: *how });
                }
            }
            Act::WorkerDies(n) => {
                if let Some((task, epoch)) = choose(&self.work(), *n) {
                    self.ends(task, epoch);
                }
            }
            // What people ask for may be refused; the scheduler asks the same function.
            Act::Told(event) => {
                if job::transition(&self.job, event).is_ok() {
                    self.job_event(event.clone())?;
                }
            }
            Act::CleanupOver => self.give_cleanup_up()?,
            Act::Later(seconds) => self.now += Duration::seconds(*seconds),
        }
        self.holds()
    }

    fn lose(&mut self, n: usize) -> Option<Message> {
        (!self.messages.is_empty()).then(|| self.messages.swap_remove(n % self.messages.len()))
    }

    fn place(&mut self, index: usize) -> Checked {
        self.workers += 1;
        let worker = WorkerId(uuid::Uuid::from_u128(self.workers));
        self.task_event(index, &TaskEvent::Place { worker })
    }

    fn give_cleanup_up(&mut self) -> Checked {
        if !matches!(self.job.state, JobState::Cancelling | JobState::Abandoning) {
            return Ok(());
        }
        for index in 0..self.tasks.len() {
            if self.tasks[index].stage == self.job.stage {
                self.apply_to_task(index, &TaskEvent::TakeBack { keep: false })?;
            }
        }
        self.job_event(JobEvent::CleanedUp)
    }

    /// The invariants, after each event.
    fn holds(&self) -> Checked {
        let in_order: Vec<usize> = (0..self.opened.len()).collect();
        prop_assert_eq!(&self.opened, &in_order, "stages open once, in order");
        prop_assert_eq!(self.released, u32::from(self.job.state.is_final()), "holds go once, at the end");
        let mut truncates = self.tasks.iter().filter(|task| task.kind == StageKind::Truncate);
        if truncates.next().is_some() {
            prop_assert!(truncates.next().is_none(), "one truncate");
            prop_assert!(self.job.past_no_return);
            prop_assert!(!matches!(self.job.state, JobState::Cancelling | JobState::Cancelled));
        }
        for task in self.tasks.iter().filter(|task| !task.cleanup) {
            let state = task.machine.state;
            if task.stage < self.job.stage {
                prop_assert_eq!(state, TaskState::Succeeded, "a stage passes when all of it is done");
            }
            prop_assert!(!self.job.state.is_final() || state.is_over(), "the job is over, a task {state:?}");
        }
        let waits = self.of_stage(false).any(|task| !task.machine.state.is_over());
        prop_assert!(self.job.state != JobState::Running || waits, "a running job waits for something");
        Ok(())
    }

    /// Faults have stopped: messages arrive, timers fire, workers do their work. The job ends.
    fn calm(&mut self) -> Checked {
        for _ in 0..2_000 {
            match self.job.state {
                JobState::Paused => self.job_event(JobEvent::Resume)?,
                JobState::Failed => {
                    let retry = JobEvent::Retry { now: self.now };
                    let may = job::transition(&self.job, &retry).is_ok();
                    self.job_event(if may { retry } else { JobEvent::RetryWindowOver })?;
                }
                state if state.is_final() => return self.holds(),
                _ => {}
            }
            while !(self.messages.is_empty() && self.work().is_empty()) {
                for message in std::mem::take(&mut self.messages) {
                    self.deliver(message)?;
                }
                for (task, epoch) in self.work() {
                    self.ends(task, epoch);
                    self.deliver(Message::Succeeded { task, epoch })?;
                }
            }
            self.now += Duration::minutes(6);
            while let Some(index) = self.placeable().first().copied() {
                self.place(index)?;
            }
            for index in 0..self.tasks.len() {
                let machine = &self.tasks[index].machine;
                let (state, late) = (machine.state, machine.deadline.is_some_and(|at| at < self.now));
                match state {
                    TaskState::Dispatched if late => self.task_event(index, &TaskEvent::DispatchTimedOut)?,
                    TaskState::Running if late => self.task_event(index, &TaskEvent::LeaseExpired)?,
                    _ => {}
                }
            }
            self.holds()?;
        }
        Err(TestCaseError::fail(format!("the job does not end: {:?}\n{:?}", self.job, self.tasks)))
    }
}

const fn epoch_of(event: &TaskEvent) -> Option<u32> {
    match event {
        TaskEvent::Unroutable { epoch }
        | TaskEvent::Started { epoch, .. }
        | TaskEvent::Heartbeat { epoch }
        | TaskEvent::Succeeded { epoch }
        | TaskEvent::Failed { epoch, .. }
        | TaskEvent::Stopped { epoch, .. } => Some(*epoch),
        _ => None,
    }
}

fn choose<T: Copy>(from: &[T], n: usize) -> Option<T> {
    (!from.is_empty()).then(|| from[n % from.len()])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_and_the_job_ends(acts in proptest::collection::vec(any_act(), 0..250)) {
        let mut world = World::new();
        world.job_event(JobEvent::Start)?;
        for act in &acts {
            world.act(act)?;
        }
        world.calm()?;
    }
}

#[test]
fn without_faults_a_restore_goes_to_its_end() {
    let mut world = World::new();
    world.job_event(JobEvent::Start).expect("it starts");
    world.calm().expect("it ends");
    assert_eq!(world.job.state, JobState::Succeeded);
    assert!(world.tasks.iter().all(|task| task.granted == [1]), "each task is granted once");
}
