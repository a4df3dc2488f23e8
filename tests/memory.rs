//! What a network is said to take before anything is asked for, against what its engine then asks
//! for. The only test of this file, for it counts the bytes of the whole process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use longhand::data::{Dataset, Images, Normalisation};
use longhand::engines::memory::{Load, check_memory, memory};
use longhand::engines::{self, EngineError, EngineKind};
use longhand::hardware::lanes::{APART, MANY};
use longhand::hardware::{Target, gemm};
use longhand::network::Network;
use longhand::optimisers::StepRule;
use ndarray::Array2;

/// Bytes that are taken now, and the most that ever were.
static TAKEN: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

struct Counting;

/// The bytes of an allocation but for the room that the lanes leave behind many vectors and nobody touches: that
/// is no memory.
fn used(layout: Layout) -> usize {
    // What `gemm` packs into may be of such an alignment too, but then on both sides of what is compared.
    match layout.align() >= 32 && layout.size() >= MANY + APART {
        true => layout.size() - APART,
        false => layout.size(),
    }
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let taken = TAKEN.fetch_add(used(layout), Relaxed) + used(layout);
        MOST.fetch_max(taken, Relaxed);
        // SAFETY: the caller keeps the promises of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        TAKEN.fetch_sub(used(layout), Relaxed);
        // SAFETY: the caller keeps the promises of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a thread's first matrix product leaves until the thread ends: a buffer as large as the
/// processor's second cache, which the crate `gemm` packs into.
fn product() -> u64 {
    let (a, b) = (Array2::zeros((20, 250)), Array2::zeros((250, 64)));
    let mut c = Array2::zeros((20, 64));
    let measured = || {
        let before = TAKEN.load(Relaxed);
        gemm(a.view(), b.view(), Target::Overwritten, c.view_mut());
        TAKEN.load(Relaxed) - before
    };
    std::thread::scope(|scope| scope.spawn(measured).join().unwrap() as u64)
}

#[test]
fn a_network_takes_about_what_it_is_said_to_take() {
    let texts = [
        // Activations, Winograd's and direct; weights, of few and of many channels.
        "input 1x28x28, conv2d 10 5, relu, max_pool2d 2, conv2d 20 5, relu, max_pool2d 2, flatten, linear 10",
        "input 3x64x64, conv2d 16 3 padding=1, relu, max_pool2d 2, conv2d 32 5, flatten, linear 10",
        "input 1x40x40, conv2d 32 7, conv2d 4 3x1 stride=2, relu, max_pool2d 3 stride=1, flatten, linear 10",
        "input 1x8x8, flatten, linear 3000, dropout 0.5, relu, linear 400, linear 10",
    ];
    let product = product();
    for text in texts {
        let network = Network::new(&text.parse().unwrap(), None).unwrap();
        let shape = network.input();
        let images = Images::new(shape, vec![9; 40 * shape.iter().product::<usize>()]).unwrap();
        let data = Dataset::new(images, vec![1; 40], 10).unwrap();
        let normalisation = Normalisation::none(shape[0]);
        for kind in [EngineKind::Reference, EngineKind::Im2col, EngineKind::Lanes] {
            for (batch, threads) in [(0, 1), (32, 1), (32, 4), (40, 2)] {
                if kind == EngineKind::Reference && batch > 0 && shape[1] > 8 {
                    // It is slow.
                    continue;
                }
                let load = Load { batch, images: 40 };
                let said = memory(kind, &network, Some(threads), load).unwrap();
                let before = TAKEN.load(Relaxed);
                MOST.store(before, Relaxed);
                let threads_given = (kind != EngineKind::Reference).then_some(threads);
                let mut engine =
                    engines::open(kind, network.clone(), normalisation.clone(), threads_given)
                        .unwrap();
                if batch > 0 {
                    let rule = StepRule {
                        batch_size: batch,
                        ..StepRule::default()
                    };
                    let order: Vec<u32> = (0..batch as u32).collect();
                    let mut go_on = |_: &_| ControlFlow::Continue(());
                    engine
                        .train_epoch(&data, &order, &rule, &mut go_on)
                        .unwrap();
                }
                engine.predict(data.images()).unwrap();
                let one = Images::new(shape, data.images().image(0).to_vec()).unwrap();
                engine.predict(&one).unwrap();
                let taken = (MOST.load(Relaxed) - before) as u64;
                let what = format!("{text}, {kind}, batch {batch}, {threads} threads");
                // Threads themselves, tables, and what every thread's matrix products keep.
                let products = match kind {
                    EngineKind::Im2col => threads as u64 * product,
                    _ => 0,
                };
                assert!(
                    taken <= said + said / 4 + 2_000_000 + products,
                    "{what}: {taken}, said {said}"
                );
                // A pool's threads give back what they have when they end, which nobody waits for.
                drop(engine);
                while TAKEN.load(Relaxed) > before + 100_000 {
                    std::thread::yield_now();
                }
                // The estimate counts copies that are not made here.
                let copies = 32 * 4 * network.parameter_count() as u64;
                assert!(said <= 2 * taken + copies, "{what}: {taken}, said {said}");
            }
        }
    }
    let large = "input 1x100x100, conv2d 1000 3 padding=1, flatten, linear 10";
    let network = Network::new(&large.parse().unwrap(), None).unwrap();
    let load = Load {
        batch: 32,
        images: 100,
    };
    let refused = check_memory(EngineKind::Lanes, &network, None, load, 800_000_000);
    assert!(
        matches!(refused, Err(EngineError::Memory { .. })),
        "{refused:?}"
    );
    check_memory(EngineKind::Reference, &network, None, load, u64::MAX).unwrap();
}
