//! What this machine can do at most: multiply and add, and read and write memory.

use std::hint::black_box;
use std::time::Instant;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Sums that grow side by side: two units of four cycles' latency need eight, and sixteen
/// registers hold twelve with what they need.
const CHAINS: usize = 12;

/// What some number of threads reach together.
#[derive(Clone, Copy)]
pub struct Limits {
    /// 10^9 floating-point operations in a second, a multiplication and an addition being two.
    pub gflops: f64,
    /// 10^9 bytes to and from memory in a second.
    pub gbs: f64,
}

/// One machine, measured.
pub struct Machine {
    pub cpu: String,
    pub threads: usize,
    /// The vectors that the peak was measured with.
    pub vectors: &'static str,
    /// Of one thread.
    pub one: Limits,
    /// Of all threads.
    pub all: Limits,
    /// The GPU's name and its limits, where one was timed.
    pub gpu: Option<(String, Limits)>,
}

impl Machine {
    /// Takes a few seconds where the last cache is large.
    pub fn measure() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (one, all) = (pool(1), pool(threads));
        let unit = Unit::widest();
        let mut triad = Triad::new();
        let mut limits = |pool: &ThreadPool| Limits {
            gflops: unit.gflops(pool),
            gbs: triad.gbs(pool),
        };
        Self {
            cpu: cpu_name(),
            threads,
            vectors: unit.name,
            one: limits(&one),
            all: limits(&all),
            gpu: None,
        }
    }

    /// Measures again, and keeps what was more: another program may have had a core meanwhile.
    pub fn measure_again(&mut self) {
        let again = Self::measure();
        for (limits, again) in [(&mut self.one, again.one), (&mut self.all, again.all)] {
            limits.gflops = limits.gflops.max(again.gflops);
            limits.gbs = limits.gbs.max(again.gbs);
        }
    }

    /// What `threads` threads can reach, or the GPU if there are 0.
    pub fn limits(&self, threads: usize) -> Limits {
        match (threads, &self.gpu) {
            (0, Some((_, limits))) => *limits,
            (0 | 1, _) => self.one,
            _ => self.all,
        }
    }
}

/// A pool of `threads` threads.
pub fn pool(threads: usize) -> ThreadPool {
    let builder = ThreadPoolBuilder::new().num_threads(threads);
    builder.build().expect("the machine starts threads")
}

/// What the processor calls itself.
fn cpu_name() -> String {
    use sysinfo::{CpuRefreshKind, RefreshKind, System};
    let kind = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing());
    let system = System::new_with_specifics(kind);
    let brand = system.cpus().first().map(|cpu| cpu.brand().trim());
    brand.unwrap_or(std::env::consts::ARCH).to_owned()
}

/// The shortest of `times` runs: whatever else the machine does only makes one longer.
fn shortest(times: usize, mut run: impl FnMut()) -> f64 {
    let seconds = (0..times).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    seconds.fold(f64::INFINITY, f64::min)
}

/// A kind of vector, and the loop that does nothing but multiply and add with it.
struct Unit {
    name: &'static str,
    lanes: usize,
    /// So many rounds, each of [`CHAINS`] vectors.
    work: fn(u64) -> f32,
}

impl Unit {
    fn widest() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Self {
                    name: "AVX-512",
                    lanes: 16,
                    // SAFETY: the processor was just found to have AVX-512.
                    work: |rounds| unsafe { avx512(rounds) },
                };
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self {
                    name: "AVX2 and FMA",
                    lanes: 8,
                    // SAFETY: the processor was just found to have AVX2 and FMA.
                    work: |rounds| unsafe { avx2(rounds) },
                };
            }
        }
        Self {
            name: "the compiler's vectors",
            lanes: 4,
            work: plain,
        }
    }

    fn gflops(&self, pool: &ThreadPool) -> f64 {
        const ROUNDS: u64 = 3_000_000;
        let seconds = shortest(20, || {
            pool.broadcast(|_| black_box((self.work)(ROUNDS)));
        });
        let each = 2 * self.lanes as u64 * CHAINS as u64 * ROUNDS;
        each as f64 * pool.current_num_threads() as f64 / seconds / 1e9
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn avx512(rounds: u64) -> f32 {
    use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_set1_ps};
    let factor = _mm512_set1_ps(black_box(0.5));
    // Hidden from the compiler, which would compute equal sums once.
    let mut sums = black_box([_mm512_set1_ps(1.0); CHAINS]);
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, factor, factor);
        }
    }
    sums.into_iter().map(|sum| _mm512_reduce_add_ps(sum)).sum()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(rounds: u64) -> f32 {
    use std::arch::x86_64::{_mm256_cvtss_f32, _mm256_fmadd_ps, _mm256_set1_ps};
    let factor = _mm256_set1_ps(black_box(0.5));
    // Hidden from the compiler, which would compute equal sums once.
    let mut sums = black_box([_mm256_set1_ps(1.0); CHAINS]);
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, factor, factor);
        }
    }
    // All lanes are alike, so one of each is enough to keep the work from being left out.
    sums.into_iter().map(|sum| _mm256_cvtss_f32(sum)).sum()
}

fn plain(rounds: u64) -> f32 {
    let factor = black_box(0.5_f32);
    let mut sums = black_box([[1.0_f32; 4]; CHAINS]);
    for _ in 0..rounds {
        for sum in sums.as_flattened_mut() {
            // Without an instruction for it, `mul_add` is a slow call.
            *sum = if cfg!(target_arch = "aarch64") {
                sum.mul_add(factor, factor)
            } else {
                *sum * factor + factor
            };
        }
    }
    sums.as_flattened().iter().sum()
}

/// `a = b + s c` over arrays that no cache holds (McCalpin's STREAM).
struct Triad {
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

impl Triad {
    fn new() -> Self {
        let bytes = (2 * l3_bytes()).clamp(64 << 20, 512 << 20);
        // Zeros would not be in memory before they are written.
        let ones = || vec![1.0; bytes / size_of::<f32>()];
        Self {
            a: ones(),
            b: ones(),
            c: ones(),
        }
    }

    /// As STREAM counts: two arrays read, one written.
    fn gbs(&mut self, pool: &ThreadPool) -> f64 {
        let length = self.a.len().div_ceil(pool.current_num_threads());
        let scale = black_box(3.0);
        let seconds = shortest(10, || {
            pool.install(|| {
                let a = self.a.par_chunks_mut(length);
                let chunks = a.zip(self.b.par_chunks(length).zip(self.c.par_chunks(length)));
                chunks.for_each(|(a, (b, c))| {
                    for (a, (b, c)) in a.iter_mut().zip(b.iter().zip(c)) {
                        *a = b + scale * c;
                    }
                });
            });
        });
        black_box(&self.a);
        (3 * size_of::<f32>() * self.a.len()) as f64 / seconds / 1e9
    }
}

/// The size of the last cache, as Linux tells it, or what a desktop has.
fn l3_bytes() -> usize {
    std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index3/size")
        .ok()
        .and_then(|text| text.trim().strip_suffix('K')?.parse::<usize>().ok())
        .map_or(32 << 20, |kibibytes| kibibytes << 10)
}
