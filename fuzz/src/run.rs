//! Inputs under limits: none may panic, and time and memory of each are bounded.

use crate::targets::FuzzTarget;
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Processor time of one input, in a build without optimisation. Wall time would blame a parser for a busy machine.
const MAX_CPU_TIME: Duration = Duration::from_secs(3);
/// Memory that one input may take beside what the process has: zstd's window of 32 MiB is the most that is meant to be.
const MAX_MEMORY_KIB: u64 = 128 << 10;

/// What an input did that none may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitViolation {
    /// It panicked.
    Panic,
    /// It took so much processor time.
    Time(Duration),
    /// It took so many KiB of memory.
    Memory(u64),
}

/// Gives inputs to a target, one after the other; the first that breaks a limit.
///
/// # Errors
/// If one panics or breaks a limit.
pub fn check_inputs<'i>(
    target: &FuzzTarget,
    inputs: &'i [Vec<u8>],
) -> Result<(), (&'i [u8], LimitViolation)> {
    // Measuring costs more than most inputs do: together they are measured once, and each alone only when that was much.
    let limits = |inputs: &[Vec<u8>]| {
        // So that the peak is that of these inputs. Where the kernel does not do that, it is the process's.
        let _ = fs::write("/proc/self/clear_refs", "5");
        let (memory, time, began) = (memory_kib("VmRSS:"), processor_time(), Instant::now());
        for input in inputs {
            (target.parse)(input);
        }
        // Processor time is looked at only where it can have been too much.
        let used = if began.elapsed() > MAX_CPU_TIME {
            processor_time().saturating_sub(time)
        } else {
            Duration::ZERO
        };
        let peak = self::memory_kib("VmHWM:").saturating_sub(memory);
        match () {
            () if used > MAX_CPU_TIME => Err(LimitViolation::Time(used)),
            () if peak > MAX_MEMORY_KIB => Err(LimitViolation::Memory(peak)),
            () => Ok(()),
        }
    };
    let caught = |inputs: &[Vec<u8>]| {
        catch_unwind(AssertUnwindSafe(|| limits(inputs))).unwrap_or(Err(LimitViolation::Panic))
    };
    if caught(inputs).is_ok() {
        return Ok(());
    }
    let alone = inputs.iter().map(|i| (i, caught(std::slice::from_ref(i))));
    let mut broken = alone.filter_map(|(input, result)| Some((input.as_slice(), result.err()?)));
    broken.next().map_or(Ok(()), Err)
}

/// A field of the process's status, in KiB.
fn memory_kib(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix(field)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or_default()
}

/// What this thread has had of a processor.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split(' ').next().and_then(|n| n.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

/// The folder of what a target's inputs have broken so far.
pub fn regressions_dir(target: &FuzzTarget) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions").join(target.name)
}

/// Keeps an input that broke a limit; its path.
pub fn save_regression(target: &FuzzTarget, input: &[u8]) -> PathBuf {
    let hash = input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    let path = regressions_dir(target).join(format!("{hash:016x}"));
    let _ = fs::create_dir_all(regressions_dir(target));
    let _ = fs::write(&path, input);
    path
}
