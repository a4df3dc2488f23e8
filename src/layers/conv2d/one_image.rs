//! Convolution of one image: for any kernel, stride and padding.
//!
//! Of a group of one image all lanes but one would stand empty, so neighbouring outputs stand in
//! the lanes. The output's rows are cut into **bands** of m rows. Row r of all bands stands side by
//! side, column after column and band after band without gaps, so that only the last vector may
//! not be full however short a row is. Each of such rows, of all output channels, is a product of
//! matrices, in which a weight is broadcast:
//!
//! ```text
//! M[f] (O, bands ow) = U[f] (O, K) . cols[f] (K, bands ow)
//! ```
//!
//! **Directly** a product is a row of the bands, f = r, and `U` the weight as it is, K = C kh kw:
//!
//! ```text
//! cols[r][(c, u, v), (b, j)] = x[c, (m b + r) s + u - p, j s + v - p]      y[o, m b + r, j] = M[r][o, (b, j)]
//! ```
//!
//! **By Winograd's filtering**, down the columns alone, 8 products give the m rows of a band, with
//! K = C kw: 8 multiplications a band, column and tap `v` instead of m kh, which is 20 for 5 rows of
//! taps and 18 for 3. See [`super::winograd`] for the matrices.
//!
//! ```text
//! U[., o, (c, v)] = G weight[o, c, ., v]      cols[., (c, v), (b, j)] = B^T x[c, m b + . - p, j + v - p]
//! y[o, m b + ., j] = A^T M[., o, (b, j)]
//! ```
//!
//! Along the columns alone, a transform never crosses lanes. Along both axes there would be fewer
//! multiplications, but what one image has of them is too little to fill the lanes.
//!
//! Pooling by 2x2 behind ReLU is done as the products come: m is even then, and the two rows of a
//! window stand in the same lane.

use super::Conv2d;
use super::winograd::{self, POINTS, transforms};
use crate::hardware::lanes::tile::add_product;
use crate::hardware::lanes::{Lanes, kernel, tiles, with_rows};
use crate::layers::conv2d_relu_max_pool2d;
use crate::layers::max_pool2d::MaxPool2d;

/// The most vectors of a tile, on any path.
const TILE: usize = 20;

/// How one convolution is cut into bands.
#[derive(Clone, Copy, Debug)]
pub struct Bands {
    conv: Conv2d,
    /// Whether Winograd's filtering gives a band's rows.
    winograd: bool,
    /// Whether ReLU and pooling follow.
    pooled: bool,
    /// Rows of a band: m.
    side: usize,
    /// How many there are.
    count: usize,
    /// Outputs of a row that are computed: all, or all that are pooled.
    columns: usize,
}

/// How many numbers or vectors each buffer has.
struct Sizes {
    /// Numbers.
    u: usize,
    frame: usize,
    /// Vectors.
    transformed: usize,
    products: usize,
    rows: usize,
}

impl Bands {
    /// Cuts `conv`, by Winograd's filtering if that is allowed, possible and faster. Where `pool` is
    /// given, it and ReLU follow; it must be one that [`conv2d_relu_max_pool2d::fits`].
    pub fn new(conv: &Conv2d, pool: Option<&MaxPool2d>, winograd_allowed: bool) -> Self {
        assert!(pool.is_none_or(conv2d_relu_max_pool2d::fits), "2x2 windows");
        let pooled = pool.is_some();
        let [rows, columns] = match pool {
            Some(pool) => pool.output.map(|windows| 2 * windows),
            None => conv.output,
        };
        let taps = conv.window.kernel[0];
        // Fewer multiplications, where the last band is not nearly empty.
        let winograd = winograd::side(conv)
            .filter(|side| winograd_allowed && POINTS * rows.div_ceil(*side) < taps * rows);
        let side = winograd.unwrap_or(if pooled { 2 } else { 1 });
        Self {
            conv: *conv,
            winograd: winograd.is_some(),
            pooled,
            side,
            count: rows.div_ceil(side),
            columns,
        }
    }

    /// What is cut.
    pub fn conv(&self) -> &Conv2d {
        &self.conv
    }

    /// Floating-point operations of one image's forward pass: those of the products and the
    /// transforms.
    pub fn flops(&self) -> u64 {
        let products = 2 * self.conv.out_channels * self.depth() * self.products() * self.places();
        let [_, _, width] = self.frame();
        let transforms = match self.winograd {
            true => {
                let output = 10 + 4 * (self.side - 1);
                38 * self.conv.in_channels * self.count * width
                    + output * self.conv.out_channels * self.places()
            }
            false => 0,
        };
        (products + transforms) as u64
    }

    /// How many products of matrices there are.
    fn products(&self) -> usize {
        if self.winograd { POINTS } else { self.side }
    }

    /// K.
    fn depth(&self) -> usize {
        match self.winograd {
            true => self.conv.in_channels * self.conv.window.kernel[1],
            false => self.conv.fan_in(),
        }
    }

    /// Outputs of one row of all bands.
    fn places(&self) -> usize {
        self.count * self.columns
    }

    /// Rows of a band that are written: a pooled one for two.
    fn written(&self) -> usize {
        if self.pooled {
            self.side / 2
        } else {
            self.side
        }
    }

    /// Vectors of one written row of all bands.
    fn row_vectors(&self, width: usize) -> usize {
        let vectors = self.places().div_ceil(width);
        if self.pooled {
            vectors.div_ceil(2)
        } else {
            vectors
        }
    }

    /// The most output channels of a tile: as many sums as there are registers for.
    #[inline(always)]
    fn channels_of_tile<T: Lanes>(&self) -> usize {
        match self.places() <= T::WIDTH {
            true => 4 * T::ROWS,
            false => 2 * T::ROWS,
        }
    }

    /// Into how many parts a row of the frame is cut: columns as far apart as windows stand side by
    /// side.
    fn phases(&self) -> usize {
        self.conv.window.stride[1].min(self.conv.window.kernel[1])
    }

    /// The padded input: C, rows, and phases times columns of each.
    fn frame(&self) -> [usize; 3] {
        let ([height, width], [down, across]) = (self.conv.window.kernel, self.conv.window.stride);
        let rows = (self.count * self.side - 1) * down + height;
        let columns = ((self.columns - 1) * across + width - 1) / across + 1;
        [self.conv.in_channels, rows, self.phases() * columns]
    }

    /// Whether the frame is the input as it is, and need not be written.
    fn is_input(&self) -> bool {
        let window = &self.conv.window;
        window.padding == [0, 0] && window.stride[1] == 1 && self.frame() == self.conv.x()
    }

    /// Where in a row of the frame column `n` of the padded input stands, if it does.
    #[inline(always)]
    fn column(&self, n: usize) -> Option<usize> {
        let across = self.conv.window.stride[1];
        let ([_, _, width], phases) = (self.frame(), self.phases());
        let (phase, column) = (n % across, n / across);
        (phase < phases && column < width / phases).then_some(phase * (width / phases) + column)
    }

    /// What a window reads, with `width` lanes: C, rows, and numbers of each. The frame, or what
    /// [`transform`] makes of it, a row of each band filled up to whole vectors.
    fn read(&self, width: usize) -> [usize; 3] {
        let [channels, rows, across] = self.frame();
        match self.winograd {
            true => [channels, self.count, across.next_multiple_of(width)],
            false => [channels, rows, across],
        }
    }

    /// How far it is from a band's numbers to the next's.
    fn next(&self, width: usize) -> usize {
        let [_, _, across] = self.read(width);
        match self.winograd {
            true => across,
            false => self.side * self.conv.window.stride[0] * across,
        }
    }

    /// How far it is from the numbers of a product to those of the next.
    fn apart(&self, width: usize) -> usize {
        let [channels, rows, across] = self.read(width);
        match self.winograd {
            true => channels * rows * across,
            false => self.conv.window.stride[0] * across,
        }
    }

    /// Where the numbers of each k of K stand: (C, kh, kw), or (C, kw).
    fn offsets(&self, lanes: usize) -> Vec<usize> {
        let ([height, width], step) = (self.conv.window.kernel, self.conv.window.stride[1]);
        let [channels, rows, across] = self.read(lanes);
        let taps = if self.winograd { 1 } else { height };
        let columns = self.frame()[2] / self.phases();
        let row = |(c, u)| (c * rows + u) * across;
        (0..channels)
            .flat_map(|c| (0..taps).map(move |u| (c, u)))
            .flat_map(|at| (0..width).map(move |v| row(at) + v % step * columns + v / step))
            .collect()
    }

    /// For vectors of so many lanes.
    fn sizes(&self, width: usize) -> Sizes {
        let [channels, rows, across] = self.frame();
        let outputs = self.conv.out_channels;
        let [filters, transformed] = match self.winograd {
            true => [POINTS, POINTS * self.apart(width) / width + 1],
            false => [1, 0],
        };
        Sizes {
            u: filters * outputs * self.depth(),
            frame: match self.is_input() {
                true => 0,
                false => channels * rows * across + width,
            },
            transformed,
            products: POINTS * TILE,
            rows: outputs * self.written() * self.row_vectors(width) + 1,
        }
    }

    /// How many bytes a [`Convolution`] has.
    pub fn bytes(&self, width: usize) -> u64 {
        let sizes = self.sizes(width);
        let numbers = sizes.u + self.conv.out_channels + sizes.frame;
        let vectors = sizes.transformed + sizes.products + sizes.rows;
        // An offset for every row of the product; a mask for every band, and a vector's places.
        let places = 64 * self.count + 32 * self.places().div_ceil(width);
        4 * (numbers + width * vectors) as u64 + (8 * self.depth() + places) as u64
    }
}

/// The weights of a convolution, laid out, and its buffers.
pub struct Convolution<T: Lanes> {
    bands: Bands,
    /// For each product, or once for all where they have the same, and for each tile of output
    /// channels: (K, O of the tile).
    u: Vec<f32>,
    /// (O)
    bias: Vec<f32>,
    /// The padded input: [`Bands::frame`], 0 around the image for good, and room behind; none
    /// where that is the input.
    frame: Vec<f32>,
    /// B^T x: (8, C, bands, columns of the frame in vectors), and room behind; none where it is
    /// direct.
    transformed: Vec<T::Vector>,
    /// Where the numbers of each k of K stand, from the first product's first place on.
    offsets: Vec<usize>,
    /// Of all vectors of places.
    places: Vec<Places<T>>,
    /// Of one tile: (products, O of the tile, one or two vectors of places).
    products: Vec<T::Vector>,
    /// The outputs, pooled if they are: (O, written rows of a band, places), and room behind.
    rows: Vec<T::Vector>,
}

/// Where the numbers of neighbouring places stand: side by side, but further on where another band
/// begins.
struct Places<T: Lanes> {
    first: usize,
    /// The lanes from a band's begin on, and how much further on those stand.
    further: Vec<(T::Mask, usize)>,
}

impl<T: Lanes> Places<T> {
    /// Those from `place` on.
    fn new(t: T, bands: &Bands, place: usize) -> Self {
        let (columns, next) = (bands.columns, bands.next(T::WIDTH));
        let last = (place + T::WIDTH).min(bands.places()) - 1;
        let first = place / columns * next + place % columns;
        let begin = |band: usize| {
            let lane = band * columns - place;
            (t.mask(u16::MAX << lane), band * next - first - lane)
        };
        Self {
            first,
            further: (place / columns + 1..=last / columns).map(begin).collect(),
        }
    }

    /// The numbers at these places.
    #[inline(always)]
    fn load(&self, t: T, from: &[f32]) -> T::Vector {
        let from = &from[self.first..];
        let mut numbers = t.load(from);
        for &(lanes, further) in &self.further {
            numbers = t.select(lanes, t.load(&from[further..]), numbers);
        }
        numbers
    }
}

impl<T: Lanes> Convolution<T> {
    /// - `weight`: (O, C, kh, kw)
    /// - `bias`: (O)
    pub fn new(t: T, bands: Bands, weight: &[f32], bias: &[f32]) -> Self {
        let sizes = bands.sizes(T::WIDTH);
        let mut u = vec![0.0; sizes.u];
        lay_out(t, &bands, weight, &mut u);
        let places = (0..bands.places()).step_by(T::WIDTH);
        Self {
            offsets: bands.offsets(T::WIDTH),
            places: places.map(|place| Places::new(t, &bands, place)).collect(),
            bands,
            u,
            bias: bias.to_vec(),
            frame: vec![0.0; sizes.frame],
            transformed: t.zeros(sizes.transformed),
            products: t.zeros(sizes.products),
            rows: t.zeros(sizes.rows),
        }
    }
}

/// - `weight`: (O, C, kh, kw)
/// - `u`: as [`Convolution`] has it, written
fn lay_out<T: Lanes>(t: T, bands: &Bands, weight: &[f32], u: &mut [f32]) {
    let Conv2d {
        in_channels: inputs,
        out_channels: outputs,
        window,
        ..
    } = bands.conv;
    let ([height, width], depth) = (window.kernel, bands.depth());
    for tile in tiles(outputs, bands.channels_of_tile::<T>()) {
        for o in tile.clone() {
            let place = |k: usize| tile.start * depth + k * tile.len() + o - tile.start;
            let filter = &weight[o * bands.conv.fan_in()..][..bands.conv.fan_in()];
            if !bands.winograd {
                for (k, &number) in filter.iter().enumerate() {
                    u[place(k)] = number;
                }
                continue;
            }
            for (c, v) in (0..inputs).flat_map(|c| (0..width).map(move |v| (c, v))) {
                let tap = |row: usize| t.splat(filter[(c * height + row) * width + v]);
                let points = match height {
                    5 => transforms::weight::<T, 5>(t, [tap(0), tap(1), tap(2), tap(3), tap(4)]),
                    _ => transforms::weight::<T, 3>(t, [tap(0), tap(1), tap(2)]),
                };
                for (f, &point) in points.iter().enumerate() {
                    u[f * outputs * depth + place(c * width + v)] = t.numbers(&[point])[0];
                }
            }
        }
    }
}

/// - `x`: (C, H, W), and at least one vector more behind, which is not used
/// - `y`: (O, oh, ow), or (O, ph, pw) where it is pooled, written, and as much behind, written too
pub fn forward<T: Lanes>(t: T, convolution: &mut Convolution<T>, x: &[f32], y: &mut [f32]) {
    // Each part is a kernel of its own, so that all registers are for its loops.
    let Convolution {
        bands,
        u,
        bias,
        frame,
        transformed,
        offsets,
        places,
        products,
        rows,
    } = convolution;
    let x = if frame.is_empty() {
        x
    } else {
        pad(t, bands, x, frame);
        &*frame
    };
    let from = if bands.winograd {
        transform(t, bands, x, transformed);
        t.numbers(transformed)
    } else {
        x
    };
    let windows = Windows {
        from,
        offsets,
        places,
    };
    multiply(t, bands, u, bias, windows, products, rows);
    write(t, bands, t.numbers(rows), y);
}

kernel! {
    /// - `x`: (C, H, W), and room behind
    /// - `frame`: [`Bands::frame`], written where the image is
    fn pad(
        bands: &Bands,
        x: &[f32],
        frame: &mut [f32],
    ) = pad_kernel;
}

#[inline(always)]
fn pad_kernel<T: Lanes>(t: T, bands: &Bands, x: &[f32], frame: &mut [f32]) {
    let ([height, width], [above, left]) = (bands.conv.input, bands.conv.window.padding);
    let [channels, rows, across] = bands.frame();
    let count = width.min(across.saturating_sub(left));
    for c in 0..channels {
        for i in 0..height.min(rows.saturating_sub(above)) {
            let x = &x[(c * height + i) * width..];
            let row = &mut frame[(c * rows + above + i) * across..][..across];
            if bands.conv.window.stride[1] == 1 {
                for n in (0..count).step_by(T::WIDTH) {
                    let to = left + n..left + count.min(n + T::WIDTH);
                    t.store(t.load(&x[n..]), &mut row[to]);
                }
            } else {
                for (n, &number) in x[..width].iter().enumerate() {
                    if let Some(column) = bands.column(left + n) {
                        row[column] = number;
                    }
                }
            }
        }
    }
}

kernel! {
    /// - `x`: [`Bands::frame`], and room behind
    /// - `transformed`: (8, C, bands, columns of the frame in vectors), written
    fn transform(
        bands: &Bands,
        x: &[f32],
        transformed: &mut [T::Vector],
    ) = transform_kernel;
}

#[inline(always)]
fn transform_kernel<T: Lanes>(t: T, bands: &Bands, x: &[f32], transformed: &mut [T::Vector]) {
    let [channels, rows, across] = bands.frame();
    let apart = bands.apart(T::WIDTH) / T::WIDTH;
    let mut at = 0;
    for c in 0..channels {
        for b in 0..bands.count {
            let x = &x[(c * rows + b * bands.side) * across..];
            for j in (0..across).step_by(T::WIDTH) {
                let mut pixels = [t.zero(); POINTS];
                for (i, pixels) in pixels.iter_mut().enumerate() {
                    *pixels = t.load(&x[i * across + j..]);
                }
                let points = transforms::input(t, pixels);
                for (f, &point) in points.iter().enumerate() {
                    transformed[f * apart + at] = point;
                }
                at += 1;
            }
        }
    }
}

/// The matrices `cols`, which stand nowhere as such.
#[derive(Clone, Copy)]
struct Windows<'a, T: Lanes> {
    /// The frame, or what [`transform`] gives.
    from: &'a [f32],
    offsets: &'a [usize],
    places: &'a [Places<T>],
}

kernel! {
    /// - `u`: as [`Convolution`] has it
    /// - `bias`: (O)
    /// - `products`: room for those of a tile
    /// - `rows`: (O, written rows of a band, places), written
    fn multiply(
        bands: &Bands,
        u: &[f32],
        bias: &[f32],
        windows: Windows<'_, T>,
        products: &mut [T::Vector],
        rows: &mut [T::Vector],
    ) = multiply_kernel;
}

#[inline(always)]
fn multiply_kernel<T: Lanes>(
    t: T,
    bands: &Bands,
    u: &[f32],
    bias: &[f32],
    windows: Windows<T>,
    products: &mut [T::Vector],
    rows: &mut [T::Vector],
) {
    match (bands.winograd, bands.side) {
        (true, 4) => tiles_of::<T, 4, true>(t, bands, u, bias, windows, products, rows),
        (true, _) => tiles_of::<T, 6, true>(t, bands, u, bias, windows, products, rows),
        (false, 2) => tiles_of::<T, 2, false>(t, bands, u, bias, windows, products, rows),
        (false, _) => tiles_of::<T, 1, false>(t, bands, u, bias, windows, products, rows),
    }
}

/// [`multiply`], with `M` rows of a band.
#[inline(always)]
fn tiles_of<T: Lanes, const M: usize, const WINOGRAD: bool>(
    t: T,
    bands: &Bands,
    u: &[f32],
    bias: &[f32],
    windows: Windows<T>,
    products: &mut [T::Vector],
    rows: &mut [T::Vector],
) {
    let (outputs, depth) = (bands.conv.out_channels, bands.depth());
    let vectors = windows.places.len();
    let apart = bands.apart(T::WIDTH);
    let each = bands.row_vectors(T::WIDTH);
    for first in (0..vectors).step_by(2) {
        let two = first + 1 < vectors;
        for channels in tiles(outputs, bands.channels_of_tile::<T>()) {
            for f in 0..bands.products() {
                let filters = if WINOGRAD { f * outputs * depth } else { 0 };
                let u = &u[filters + channels.start * depth..][..channels.len() * depth];
                let windows = Windows {
                    from: &windows.from[f * apart..],
                    places: &windows.places[first..],
                    ..windows
                };
                if two {
                    with_rows!(channels.len(), at most 2 * T::ROWS, of 1 2 3 4 5 6 7 8 9 10, R => {
                        product::<T, R, 2>(t, u, windows, &mut products[f * 2 * R..]);
                    });
                } else {
                    with_rows!(
                        channels.len(), at most 4 * T::ROWS,
                        of 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20, R => {
                            product::<T, R, 1>(t, u, windows, &mut products[f * R..]);
                        }
                    );
                }
            }
            let of_tile = channels.len();
            for (r, o) in channels.enumerate() {
                let rows = &mut rows[o * bands.written() * each..][..bands.written() * each];
                if two {
                    let left = outputs_of::<T, M, WINOGRAD>(t, products, 2 * of_tile, 2 * r);
                    let right = outputs_of::<T, M, WINOGRAD>(t, products, 2 * of_tile, 2 * r + 1);
                    put(t, bands, bias[o], [left, right], true, first, each, rows);
                } else {
                    let left = outputs_of::<T, M, WINOGRAD>(t, products, of_tile, r);
                    put(t, bands, bias[o], [left, left], false, first, each, rows);
                }
            }
        }
    }
}

/// One product of a tile, of `R` output channels and `N` vectors of places.
///
/// - `u`: (K, R)
/// - `to`: (R, N), written
#[inline(always)]
fn product<T: Lanes, const R: usize, const N: usize>(
    t: T,
    u: &[f32],
    windows: Windows<T>,
    to: &mut [T::Vector],
) {
    let mut tile = [[t.zero(); N]; R];
    let places = &windows.places[..N];
    for (numbers, &offset) in u.as_chunks::<R>().0.iter().zip(windows.offsets) {
        let from = &windows.from[offset..];
        let mut vectors = [t.zero(); N];
        for n in 0..N {
            vectors[n] = places[n].load(t, from);
        }
        add_product(t, 1, |_| *numbers, |_| vectors, &mut tile);
    }
    to[..R * N].copy_from_slice(tile.as_flattened());
}

/// The rows of a band, from its products, which stand `apart`, the first at `at`.
#[inline(always)]
fn outputs_of<T: Lanes, const M: usize, const WINOGRAD: bool>(
    t: T,
    products: &[T::Vector],
    apart: usize,
    at: usize,
) -> [T::Vector; M] {
    if WINOGRAD {
        let mut points = [t.zero(); POINTS];
        for (f, point) in points.iter_mut().enumerate() {
            *point = products[f * apart + at];
        }
        transforms::output::<T, M>(t, points)
    } else {
        let mut rows = [t.zero(); M];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = products[r * apart + at];
        }
        rows
    }
}

/// Writes one or two vectors of places of every row of the bands.
///
/// - `outputs`: of both vectors
/// - `rows`: (written rows of a band, places), those from vector `first` on written
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one place in a tile")]
fn put<T: Lanes, const M: usize>(
    t: T,
    bands: &Bands,
    bias: f32,
    [left, right]: [[T::Vector; M]; 2],
    two: bool,
    first: usize,
    each: usize,
    rows: &mut [T::Vector],
) {
    let bias = t.splat(bias);
    if bands.pooled {
        for r in 0..M / 2 {
            let left = t.max(left[2 * r + 1], left[2 * r]);
            let right = t.max(right[2 * r + 1], right[2 * r]);
            let [even, odd] = t.unzip(left, right);
            rows[r * each + first / 2] = t.relu(t.add(t.max(odd, even), bias));
        }
    } else {
        for r in 0..M {
            rows[r * each + first] = t.add(left[r], bias);
            if two {
                rows[r * each + first + 1] = t.add(right[r], bias);
            }
        }
    }
}

kernel! {
    /// Brings the rows into their order.
    ///
    /// - `rows`: (O, written rows of a band, places), and room behind
    /// - `y`: (O, height, width), and room behind, written
    fn write(
        bands: &Bands,
        rows: &[f32],
        y: &mut [f32],
    ) = write_kernel;
}

#[inline(always)]
fn write_kernel<T: Lanes>(t: T, bands: &Bands, rows: &[f32], y: &mut [f32]) {
    let of_band = bands.written();
    let each = bands.row_vectors(T::WIDTH) * T::WIDTH;
    let [height, width] = match bands.pooled {
        true => [bands.conv.output[0] / 2, bands.columns / 2],
        false => bands.conv.output,
    };
    let mut to = 0;
    for o in 0..bands.conv.out_channels {
        for b in 0..bands.count {
            for r in 0..of_band.min(height - b * of_band) {
                let from = &rows[(o * of_band + r) * each + b * width..];
                // By whole vectors: what they write behind a row is overwritten by the next.
                for j in (0..width).step_by(T::WIDTH) {
                    t.store(t.load(&from[j..]), &mut y[to + j..][..T::WIDTH]);
                }
                to += width;
            }
        }
    }
}
