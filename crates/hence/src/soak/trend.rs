//! Whether a row of measurements grows: estimators that neither a first warm-up nor a saw-tooth nor single
//! outliers mislead. Pure arithmetic, the same answer for the same row.
//!
//! The first quarter is left out. The rest is cut into twelve blocks of equal length, eight where it is
//! short, of which the least value counts: what is freed now and then comes back down to it, what leaks does
//! not. On these, Mann and Kendall's test says whether they rise, Theil and Sen's estimator by how much, with
//! the interval that holds 99 % of the time. What rose at first and has come to rest since is no growth.

/// Blocks that a row is cut into, where there is enough of it.
const BLOCKS: usize = 12;
/// Fewer blocks can't tell a rise from chance.
const FEWEST: usize = 8;
/// Fewer measurements say nothing.
const LEAST: usize = 2 * FEWEST;
/// Two-sided 99 %, of the normal distribution.
const Z_INTERVAL: f64 = 2.576;
/// One-sided 0.1 %.
const Z_RISES: f64 = 3.09;

/// What still grows does so late at this share of the whole's pace at least.
const GOES_ON: f64 = 0.35;

/// What a row does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Theil and Sen's slope, per second.
    pub slope: f64,
    /// The interval that holds it in 99 % of cases, per second.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// By how much it rose in the time that was looked at, by the slope.
    pub rose: f64,
    /// The least value of the first and of the last block.
    pub from: f64,
    /// See `from`.
    pub to: f64,
    /// The time that was looked at, in microseconds.
    pub span_us: u64,
    /// The rise is no chance, and still goes on.
    pub grows: bool,
}

/// The trend of (time in microseconds, value), in the order of time. `None`: too few to say anything.
pub fn trend(points: &[(u64, f64)]) -> Option<Trend> {
    let points = &points[points.len() / 4..];
    if points.len() < LEAST {
        return None;
    }
    let (first, last) = (points.first()?.0, points.last()?.0);
    let span_us = last.checked_sub(first).filter(|span| *span > 0)?;
    let blocks = least_of_blocks(points, first, span_us);
    if blocks.len() < FEWEST {
        return None;
    }
    let (rises, steps) = (kendall(&blocks), slopes(&blocks));
    let slope = median(&steps)?;
    let (low, high) = interval(&steps, blocks.len());
    let span = span_us as f64 / 1e6;
    // The last third lies above the middle one by what the slope of the whole says, or near that.
    let third = blocks.len() / 3;
    let middle = |from: usize| {
        let mut values: Vec<f64> = blocks[from..from + third].iter().map(|block| block.1).collect();
        values.sort_by(f64::total_cmp);
        median(&values).unwrap_or_default()
    };
    let late = middle(blocks.len() - third) - middle(blocks.len() - 2 * third);
    let goes_on = late >= slope * span * third as f64 / blocks.len() as f64 * GOES_ON;
    Some(Trend {
        slope,
        low,
        high,
        rose: slope * span,
        from: blocks[0].1,
        to: blocks[blocks.len() - 1].1,
        span_us,
        grows: rises > Z_RISES && low > 0.0 && goes_on,
    })
}

/// The middle of each block's time, in seconds, and the least value in it.
fn least_of_blocks(points: &[(u64, f64)], first: u64, span_us: u64) -> Vec<(f64, f64)> {
    let count = (points.len() / 2).clamp(FEWEST, BLOCKS);
    let mut least: Vec<Option<f64>> = vec![None; count];
    for &(at, value) in points {
        let nth = (u128::from(at - first) * count as u128 / (u128::from(span_us) + 1)) as usize;
        let block = &mut least[nth.min(count - 1)];
        *block = Some(block.map_or(value, |known| known.min(value)));
    }
    let length = span_us as f64 / 1e6 / count as f64;
    let middle = |nth: usize| (nth as f64 + 0.5) * length;
    least.iter().enumerate().filter_map(|(nth, value)| value.map(|v| (middle(nth), v))).collect()
}

/// Mann and Kendall's statistic as a deviate of the normal distribution; ties weigh what they should.
pub fn kendall(row: &[(f64, f64)]) -> f64 {
    let n = row.len() as f64;
    let mut sum = 0.0;
    for (nth, a) in row.iter().enumerate() {
        for b in &row[nth + 1..] {
            sum += (b.1 - a.1).partial_cmp(&0.0).map_or(0.0, |order| f64::from(order as i8));
        }
    }
    let mut values: Vec<f64> = row.iter().map(|p| p.1).collect();
    values.sort_by(f64::total_cmp);
    let ties: f64 = values
        .chunk_by(|a, b| a == b)
        .map(|same| same.len() as f64)
        .map(|t| t * (t - 1.0) * (2.0 * t + 5.0))
        .sum();
    let variance = (n * (n - 1.0) * (2.0 * n + 5.0) - ties) / 18.0;
    if variance <= 0.0 || sum == 0.0 {
        return 0.0;
    }
    (sum - f64::signum(sum)) / variance.sqrt()
}

/// The slopes of all pairs, sorted.
fn slopes(row: &[(f64, f64)]) -> Vec<f64> {
    let mut all = Vec::with_capacity(row.len() * row.len() / 2);
    for (nth, a) in row.iter().enumerate() {
        all.extend(row[nth + 1..].iter().filter(|b| b.0 > a.0).map(|b| (b.1 - a.1) / (b.0 - a.0)));
    }
    all.sort_by(f64::total_cmp);
    all
}

/// Sen's interval: the slopes at the ranks that Kendall's variance leaves.
fn interval(slopes: &[f64], n: usize) -> (f64, f64) {
    let (n, pairs) = (n as f64, slopes.len() as f64);
    let width = Z_INTERVAL * (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    let low = ((pairs - width) / 2.0).floor().max(0.0) as usize;
    let high = ((pairs + width) / 2.0).ceil() as usize;
    (slopes[low.min(slopes.len() - 1)], slopes[high.min(slopes.len() - 1)])
}

/// The middle one of sorted values.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let (low, high) = (sorted.get(sorted.len().checked_sub(1)? / 2)?, sorted.get(sorted.len() / 2)?);
    Some((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: impl Fn(f64) -> f64) -> Vec<(u64, f64)> {
        (0..240).map(|nth| (nth * 250_000, value(nth as f64 / 240.0))).collect()
    }

    /// Between -1 and 1, always the same.
    fn noise(x: f64) -> f64 {
        ((x * 7919.0).sin() * 43_758.5).fract()
    }

    fn grows(value: impl Fn(f64) -> f64) -> bool {
        trend(&row(value)).is_some_and(|t| t.grows)
    }

    #[test]
    fn what_leaks_grows() {
        assert!(grows(|x| 100.0 + 40.0 * x));
        assert!(grows(|x| 100.0 + 40.0 * x + 5.0 * noise(x)));
        // A saw-tooth on a rising ground.
        assert!(grows(|x| 100.0 + 40.0 * x + 30.0 * (x * 30.0).fract()));
        // One descriptor now and then.
        assert!(grows(|x| 20.0 + (x * 15.0).floor()));
        let found = trend(&row(|x| 100.0 + 60.0 * x)).unwrap();
        assert!((found.slope - 1.0).abs() < 0.01 && found.low <= found.slope && found.slope <= found.high);
    }

    #[test]
    fn what_is_noisy_and_sound_does_not() {
        assert!(!grows(|_| 100.0));
        assert!(!grows(|x| 100.0 + 20.0 * noise(x)));
        assert!(!grows(|x| 100.0 + 50.0 * (x * 9.0).fract()), "a saw-tooth");
        assert!(!grows(|x| 100.0 + 50.0 * (x * 3.3).fract()), "a slow saw-tooth");
        assert!(!grows(|x| 100.0 + 50.0 * (1.0 - (-x * 8.0).exp()) + noise(x)), "a cache that warms up");
        assert!(!grows(|x| 100.0 + 50.0 * (x / 0.6).min(1.0)), "one that is full after a while");
        assert!(!grows(|x| if x < 0.5 { 100.0 } else { 160.0 }), "one step");
        assert!(!grows(|x| 100.0 - 40.0 * x));
        assert_eq!(trend(&row(|x| x)[..15]), None);
        assert_eq!(trend(&[(5, 1.0); 80]), None, "no time passes");
    }
}
