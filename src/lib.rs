//! **longhand** trains and runs small convolutional networks, with every forward and backward
//! pass written out by hand: no autograd, no framework.
//!
//! # The map
//!
//! | room | what is in it |
//! |---|---|
//! | [`data`] | IDX files, images with labels, normalisation, the order of an epoch |
//! | [`pictures`] | pictures that people draw, read as the tutorial reads them |
//! | [`network`] | what a network is: text, shapes, named parameters, first weights, presets |
//! | [`layers`] | the mathematics: a folder a layer, a file a way of computing it |
//! | [`optimisers`] | how gradients change parameters, and how the learning rate goes |
//! | [`engines`] | buffers and the order of calls: [`engines::Reference`], [`engines::Im2col`], [`engines::Lanes`], [`engines::Cuda`] |
//! | [`hardware`] | what the machine gives: vectors, matrix products, threads that work in step, GPUs |
//! | [`training`] | recipes, the loop over epochs, what it records, the run's folder |
//! | [`model`], [`formats`] | a trained network, and its file |
//! | [`tensor`], [`random`], [`digest`], [`files`] | numbers, draws, which data and weights they were, whole files |
//!
//! Imports point one way: the program's commands, then training, engines, layers, hardware.
//!
//! # The life of a batch
//!
//! 1. **Bytes.** [`data::Idx`] parses a file that is not trusted into bytes with sizes.
//! 2. **Dataset.** [`data::Data`] checks that four files make a training set. Images stay bytes.
//! 3. **Batch.** [`data::shuffled`] draws the epoch's order; [`data::batches()`] cuts it. A
//!    [`data::Batch`] is indices, not copies.
//! 4. **Layers.** An [`engines::Engine`] gathers the images, normalises them
//!    ([`data::Normalisation`]), and goes through the network's layers, each output the next
//!    input.
//! 5. **Loss.** [`layers::cross_entropy`] turns logits and labels into a loss and its gradient.
//! 6. **Gradients.** The layers again, last to first: each turns the gradient by its output into
//!    those by its input, weight and bias.
//! 7. **Update.** An [`optimisers::StepRule`] changes one flat vector of parameters, which
//!    [`network::Network::parameters`] names. [`training`] writes it to the run's folder.
//!
//! To follow the mathematics, read [`engines::reference`] beside the `reference.rs` of each layer;
//! then [`engines::im2col`], which gives the same numbers, up to rounding, faster; then
//! [`hardware::lanes`], a page on lanes and tiles, [`layers::conv2d::winograd`], a chapter of its own, and
//! [`engines::lanes`], the fastest.
//!
//! # In twenty lines
//!
//! Load, train, predict; here on a part of MNIST, so that it takes a moment only:
//!
//! ```
//! # #[cfg(feature = "mnist")]
//! # fn main() -> Result<(), longhand::Error> {
//! use std::ops::ControlFlow;
//! use longhand::{data, engines, network, training};
//!
//! let mut data = data::mnist()?;
//! data.train = data.train.slice(0..6_000).expect("MNIST has 60,000 training images");
//!
//! let description = "conv2d 8 5, relu, max_pool2d 2, flatten, linear 10".parse()?;
//! let network = network::Network::new(&description, Some(data.train.images().shape()))?;
//! let kind = engines::EngineKind::Auto;
//! let mut engine = engines::open(kind, network, data.normalisation.clone(), None)?;
//!
//! let recipe = training::Recipe { epochs: 1, ..Default::default() };
//! let history = training::train(engine.as_mut(), &data, &recipe, training::Start::Drawn, &mut |_| ControlFlow::Continue(()))?;
//! println!("{:.1} % of the test images", 100.0 * history[0].test.accuracy());
//! assert!(history[0].test.accuracy() > 0.8);
//!
//! let logits = engine.predict(data.test.images())?; // (10000, 10)
//! let first = logits.row(0).to_vec();
//! println!("the first is a {}", longhand::layers::cross_entropy::reference::argmax(&first));
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "mnist"))]
//! # fn main() {}
//! ```

pub mod data;
pub mod digest;
pub mod engines;
mod error;
pub mod files;
pub mod formats;
pub mod hardware;
pub mod layers;
pub mod model;
pub mod network;
pub mod optimisers;
pub mod pictures;
pub mod random;
pub mod tensor;
pub mod training;

pub use error::{Error, Result};
