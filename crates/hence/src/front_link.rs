//! placeholder
use hence_engine::*;
pub struct FrontLink;
impl FrontLink {
    pub fn open(_: &std::path::Path, _: u32) -> std::io::Result<FrontLink> {
        Ok(FrontLink)
    }
    pub fn register(&mut self, _: &mut hence_host::Host) {}
    pub fn deadline_us(&self) -> Option<u64> {
        None
    }
    pub fn overdue(&mut self, _: u64, _: &mut hence_host::Host) {}
    pub fn effect(&mut self, _: &Effect, _: &mut crate::pump::Pump) {}
    pub fn ready(&mut self, _: hence_host::Ready, _: &mut crate::pump::Pump) -> Vec<Request> {
        Vec::new()
    }
    pub fn flush(&mut self, _: &mut crate::pump::Pump) {}
}
