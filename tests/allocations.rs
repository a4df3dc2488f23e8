//! Training allocates nothing after its first step, but for what `gemm` takes to pack a matrix
//! and gives back within the product. The only test of this file, for what it counts is the
//! allocations of the whole process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use longhand::data::{Dataset, Images, Normalisation};
use longhand::engines::{Engine, Im2col, lanes};
use longhand::network::{LayerText, Network, Preset};
use longhand::optimisers::{Adam, Optimiser, StepRule, TrainingState};

/// Allocations of anything but a product.
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// What products have taken and not given back.
static OF_PRODUCTS: AtomicUsize = AtomicUsize::new(0);

/// Allocations like those of a product, given back or not.
static LIKE_PRODUCTS: AtomicUsize = AtomicUsize::new(0);

/// `gemm` packs into buffers aligned to cache lines, and keeps flags, which are bytes. The numbers of the
/// engine that uses it, and rayon's tasks, are aligned to 4, 8 or 16.
fn of_a_product(layout: Layout) -> bool {
    !(4..=16).contains(&layout.align())
}

struct Counting;

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let counter = if of_a_product(layout) {
            LIKE_PRODUCTS.fetch_add(1, Ordering::Relaxed);
            &OF_PRODUCTS
        } else {
            &ALLOCATIONS
        };
        counter.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the promises of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if of_a_product(layout) {
            OF_PRODUCTS.fetch_sub(1, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the promises of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn an_epoch_allocates_nothing_after_its_first_step() {
    let [tutorial, ..] = Preset::ALL;
    let mut description = tutorial.description(10);
    description.layers.insert(6, LayerText::Dropout { p: 0.5 });
    let network = Network::new(&description, Some([1, 28, 28])).unwrap();
    let images = Images::new([1, 28, 28], vec![7; 500 * 784]).unwrap();
    let data = Dataset::new(images, vec![1; 500], 10).unwrap();
    let order: Vec<u32> = (0..500).collect();
    let rule = StepRule {
        optimiser: Optimiser::Adam(Adam::adamw()),
        clip_norm: Some(1.0),
        average: Some(0.9),
        label_smoothing: 0.1,
        ..StepRule::default()
    };

    let normalisation = Normalisation::mnist;
    let im2col = |threads| Im2col::new(network.clone(), normalisation(), Some(threads)).unwrap();
    let lanes = |threads| {
        let settings = lanes::Settings::default();
        lanes::open(network.clone(), normalisation(), Some(threads), settings).unwrap()
    };
    let engines: [Box<dyn Engine>; 4] =
        [Box::new(im2col(1)), Box::new(im2col(2)), lanes(1), lanes(2)];
    for mut engine in engines {
        engine.load(&TrainingState::initial(&network, 0)).unwrap();
        // Whichever thread had no part in the first step makes its buffers in a later one, so an
        // epoch goes before.
        engine
            .train_epoch(&data, &order, &rule, &mut |_| ControlFlow::Continue(()))
            .unwrap();
        // The vectors of `lanes` are aligned to cache lines, too, but it needs no `gemm`.
        let aligned = match engine.name() {
            "lanes" => &LIKE_PRODUCTS,
            _ => &OF_PRODUCTS,
        };
        let mut counts = Vec::with_capacity(1000);
        engine
            .train_epoch(&data, &order, &rule, &mut |_| {
                counts.push([&ALLOCATIONS, aligned].map(|n| n.load(Ordering::Relaxed)));
                ControlFlow::Continue(())
            })
            .unwrap();
        // The first report follows the first step, the last one the last.
        assert!(counts.len() >= 2);
        assert_eq!(counts.first(), counts.last(), "{}", engine.name());
    }
}
