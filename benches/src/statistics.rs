//! What a set of samples says.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Seconds, in the order in which they were taken.
    pub samples: Vec<f64>,
    /// In seconds, as all below.
    pub median: f64,
    pub minimum: f64,
    pub first_quartile: f64,
    pub third_quartile: f64,
    /// The median of the most memory that the processes had, in bytes, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<f64>,
}

impl Summary {
    /// `None` of no samples.
    pub fn new(samples: &[Duration]) -> Option<Summary> {
        let samples: Vec<f64> = samples.iter().map(Duration::as_secs_f64).collect();
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        let minimum = *sorted.first()?;
        Some(Summary {
            samples,
            median: quantile(&sorted, 0.5),
            minimum,
            first_quartile: quantile(&sorted, 0.25),
            third_quartile: quantile(&sorted, 0.75),
            memory: None,
        })
    }

    /// The same with what the processes took, in bytes.
    pub fn with_memory(mut self, memory: &[u64]) -> Summary {
        let mut sorted: Vec<f64> = memory.iter().map(|&bytes| bytes as f64).collect();
        sorted.sort_by(f64::total_cmp);
        self.memory = (!sorted.is_empty()).then(|| quantile(&sorted, 0.5));
        self
    }

    /// The distance between the quartiles as a part of the median.
    pub fn spread(&self) -> f64 {
        (self.third_quartile - self.first_quartile) / self.median
    }
}

/// Of values in ascending order, of which there is at least one; between two of them by their distance.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = part * (sorted.len() - 1) as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    below + (above - below) * place.fract()
}

/// `None` of no values.
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty())
        .then(|| (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(seconds: &[u64]) -> Summary {
        let samples: Vec<Duration> = seconds.iter().copied().map(Duration::from_secs).collect();
        Summary::new(&samples).expect("there are samples")
    }

    #[test]
    fn summarises() {
        let it = summary(&[9, 1, 5]);
        assert_eq!((it.median, it.minimum), (5.0, 1.0));
        assert_eq!((it.first_quartile, it.third_quartile), (3.0, 7.0));
        assert_eq!(it.spread(), 0.8);
        assert_eq!(it.samples, [9.0, 1.0, 5.0]);
        assert_eq!(summary(&[1, 2]).median, 1.5);
        assert_eq!(summary(&[4]).spread(), 0.0);
        assert!(Summary::new(&[]).is_none());
        assert_eq!(summary(&[4]).with_memory(&[1, 9, 2]).memory, Some(2.0));
        assert_eq!(summary(&[4]).with_memory(&[]).memory, None);
    }

    #[test]
    fn means() {
        assert_eq!(geometric_mean(&[]), None);
        assert!((geometric_mean(&[2.0, 8.0]).expect("there are values") - 4.0).abs() < 1e-12);
    }
}
