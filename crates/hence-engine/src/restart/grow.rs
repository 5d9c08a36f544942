//! A delay that grows from step to step by the same factor; systemd.service(5), RestartSteps=. In whole
//! numbers, so that it is the same on every machine.

/// Bits behind the point.
const POINT: u32 = 62;
const ONE: u128 = 1 << POINT;

/// The logarithm to the base of 2 of `value / of`, which is at least 1, with 48 bits behind the point.
fn log2(value: u64, of: u64) -> u128 {
    let mut whole = 0;
    let mut rest = u128::from(value) * ONE / u128::from(of);
    while rest >= 2 * ONE {
        rest >>= 1;
        whole += 1;
    }
    let mut log: u128 = whole;
    for _ in 0..48 {
        rest = (rest * rest) >> POINT;
        log <<= 1;
        if rest >= 2 * ONE {
            rest >>= 1;
            log |= 1;
        }
    }
    log
}

/// The delay before start number `step` (0: the first) of `steps` that lead from `first` to `last`, in
/// microseconds: `first` times the `step`th power of the `steps`th root of `last / first`.
pub(super) fn grown(first: u64, last: u64, step: u32, steps: u32) -> u64 {
    if step == 0 || first == 0 || last <= first {
        return first;
    }
    if step >= steps {
        return last;
    }
    let log = log2(last, first) * u128::from(step) / u128::from(steps);
    let (whole, fraction) = (log >> 48, log & ((1 << 48) - 1));
    let mut factor = ONE;
    let mut root = 2 * ONE;
    for bit in (0..48).rev() {
        root = (root << POINT).isqrt();
        if fraction >> bit & 1 == 1 {
            factor = (factor * root) >> POINT;
        }
    }
    // Rounded: what is a whole number stays one.
    let exact = u128::from(first).checked_shl(whole as u32).unwrap_or(u128::MAX >> POINT);
    let grown = (exact.saturating_mul(factor >> 22) + (1 << 39)) >> 40;
    u64::try_from(grown).unwrap_or(u64::MAX).clamp(first, last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn each_step_is_by_the_same_factor() {
        let second = 1_000_000;
        let all = |first, last, steps| -> Vec<u64> {
            (0..=steps + 1).map(|s| grown(first, last, s, steps)).collect()
        };
        assert_eq!(all(second, 8 * second, 3), [1, 2, 4, 8, 8].map(|n| n * second));
        let near = |a: u64, b: u64| a.abs_diff(b) <= 1;
        let seen = all(100_000, 10 * second, 4);
        for (seen, wanted) in
            seen.iter().zip([100_000, 316_228, 1_000_000, 3_162_278, 10_000_000, 10_000_000])
        {
            assert!(near(*seen, wanted), "{seen} {wanted}");
        }
        let day = 86_400 * second;
        for steps in [1, 7, 100, u32::MAX] {
            let mut before = 0;
            for step in [0, 1, 2, 5, 50, 99, steps - 1, steps].into_iter().filter(|s| *s <= steps) {
                let now = grown(1, day, step, steps);
                assert!(now >= before.min(now) && (1..=day).contains(&now), "{step} of {steps}");
                before = now;
            }
        }
        assert_eq!([grown(0, day, 3, 5), grown(5, 5, 3, 5), grown(9, 5, 3, 5)], [0, 5, 9]);
        assert_eq!(grown(1, u64::MAX - 1, 1, 2), 1 << 32);
    }
}
