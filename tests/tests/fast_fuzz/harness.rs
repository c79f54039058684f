//! Runs one target: what was found before, its seeds, then cases until its time is over.
//!
//! A case that kills the process (a stack that overflows, memory that runs out) cannot be reported from
//! within: its number is written down before it is tried, and the next run begins with it.

use std::{
    any::Any,
    cell::Cell,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Once,
    time::{Duration, Instant},
};

use crate::random::Random;

/// Makes an input of a target's seeds.
pub(crate) type Mutator = fn(&mut Random, &[Vec<u8>]) -> Vec<u8>;

/// The longest that any one input may take, in CPU time of a build without optimisation. The longest
/// inputs are a quarter of a megabyte: what is quadratic takes far longer.
const LONGEST: Duration = Duration::from_secs(3);

/// A parser and what it is tried with.
pub(crate) struct Target {
    /// Names its folder of inputs.
    pub(crate) name: &'static str,
    /// Real inputs.
    pub(crate) seeds: Vec<Vec<u8>>,
    /// How inputs are made of them.
    pub(crate) mutate: Mutator,
    /// Most memory at once: so many bytes …
    pub(crate) base: u64,
    /// … and so many more for each byte of the input.
    pub(crate) factor: u64,
    /// Parses, and panics if what comes of it is not right.
    pub(crate) parse: fn(&[u8]),
}

#[derive(Default)]
struct Figures {
    inputs: u64,
    memory: u64,
    slowest: Duration,
}

impl Target {
    /// Runs it; panics with all that is needed to try the input again.
    pub(crate) fn run(self) {
        let mut figures = Figures::default();
        for path in found_before(self.name) {
            let input = fs::read(&path).expect("an input that was found before");
            if let Err(why) = self.check(&input, &mut figures) {
                panic!("{}: {}: {why}", self.name, path.display());
            }
        }
        for (number, seed) in self.seeds.iter().enumerate() {
            if let Err(why) = self.check(seed, &mut figures) {
                panic!("{}: its seed {number}: {why}", self.name);
            }
        }
        let mut log = CaseLog::open(self.name);
        let mut case = log.died_in().or_else(|| asked("RINGVAULT_FUZZ_SEED")).unwrap_or_else(rand::random);
        let (began, used, tried) = (Instant::now(), cpu_time(), figures.inputs);
        let time = Duration::from_secs_f64(asked("RINGVAULT_FUZZ_SECONDS").unwrap_or(1.0));
        while began.elapsed() < time {
            let input = self.input(case);
            log.begin(case, &input);
            if let Err(why) = self.check(&input, &mut figures) {
                log.end();
                self.report(case, input, &why);
            }
            case = case.wrapping_add(1);
        }
        log.end();
        let Figures { inputs, memory, slowest } = figures;
        // Of its own CPU time: what a busy machine gives it says nothing.
        let used = cpu_time().saturating_sub(used).as_millis().max(1);
        let rate = u128::from(inputs - tried) * 1000 / used;
        println!(
            "{:<18} {inputs:>9} inputs {rate:>7}/s  {memory:>10} bytes at most  {slowest:>10.1?} at most",
            self.name
        );
    }

    fn input(&self, case: u64) -> Vec<u8> {
        let mut random = Random::of(case);
        (self.mutate)(&mut random, &self.seeds)
    }

    fn check(&self, input: &[u8], figures: &mut Figures) -> Result<(), String> {
        let mut parsed = Ok(());
        let began = cpu_time();
        let memory = allocation_counter::measure(|| {
            parsed = catch_unwind(AssertUnwindSafe(|| (self.parse)(input)));
        });
        let took = cpu_time().saturating_sub(began);
        parsed.map_err(|panic| words_of(panic.as_ref()))?;
        figures.inputs += 1;
        figures.memory = figures.memory.max(memory.bytes_max);
        figures.slowest = figures.slowest.max(took);
        let most = self.base + self.factor * input.len() as u64;
        if memory.bytes_max > most {
            let (is, length) = (memory.bytes_max, input.len());
            return Err(format!("{is} bytes of memory for an input of {length} bytes: {most} are allowed"));
        }
        if took > LONGEST {
            return Err(format!("{took:.1?} for an input of {} bytes", input.len()));
        }
        Ok(())
    }

    fn report(&self, case: u64, input: Vec<u8>, why: &str) -> ! {
        let small = quietly(|| self.smallest(input));
        let folder = scratch();
        let path = folder.join(format!("{}-{case}", self.name));
        fs::write(&path, &small).expect("the failing input");
        let (name, length) = (self.name, small.len());
        panic!(
            "{name}: case {case}: {why}\n\
             the input, cut down to {length} bytes: {}\n\
             again: RINGVAULT_FUZZ_SEED={case} dev/fuzz --seconds 0.1 {name}; \
             once mended, keep the input in tests/fuzz/{name}/",
            path.display()
        );
    }

    /// Takes pieces out of a failing input as long as it fails, for a while.
    fn smallest(&self, mut input: Vec<u8>) -> Vec<u8> {
        let until = Instant::now() + Duration::from_secs(5);
        let mut size = input.len() / 2;
        while size > 0 && Instant::now() < until {
            let mut at = 0;
            while at < input.len() && Instant::now() < until {
                let mut less = input.clone();
                less.drain(at..(at + size).min(input.len()));
                if self.check(&less, &mut Figures::default()).is_err() {
                    input = less;
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
        input
    }
}

/// Which case is being tried, on disk.
struct CaseLog {
    file: File,
    path: PathBuf,
    died_in: Option<u64>,
}

impl CaseLog {
    fn open(name: &str) -> Self {
        let path = scratch().join(format!("{name}.case"));
        let died_in = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        let file = File::create(&path).expect("the file of the case that is being tried");
        Self { file, path, died_in }
    }

    /// The case that the last run did not live to see the end of.
    fn died_in(&self) -> Option<u64> {
        self.died_in
    }

    fn begin(&mut self, case: u64, input: &[u8]) {
        if self.died_in.take() == Some(case) {
            fs::write(self.path.with_extension("died"), input).expect("the input that killed the last run");
        }
        self.file.write_all_at(format!("{case:020}\n").as_bytes(), 0).expect("the case that is tried");
    }

    fn end(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Refuses an account of what is wrong that could not be logged.
pub(crate) fn told(error: impl std::fmt::Display) {
    let words = error.to_string();
    assert!(!words.is_empty() && words.len() <= 4096, "an error of {} bytes", words.len());
}

fn found_before(name: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name);
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort_unstable();
    paths
}

fn scratch() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    fs::create_dir_all(&folder).expect("a folder for failing inputs");
    folder
}

fn asked<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not understood")))
}

/// What this thread has used. Many targets share few processors, so the clock on the wall says nothing.
fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    format!("panic: {}", text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?"))
}

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Does `work` without telling of each panic: cutting an input down makes thousands.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let tell = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                tell(panic);
            }
        }));
    });
    IS_QUIET.set(true);
    let done = work();
    IS_QUIET.set(false);
    done
}
