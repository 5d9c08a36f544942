//! The page of a prediction: one file, nothing loaded from elsewhere, no script.
pub fn page(_: &hence_engine::predict::Prediction, _: &super::Asked<'_>) -> String {
    String::new()
}
