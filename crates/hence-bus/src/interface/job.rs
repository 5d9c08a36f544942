//! org.freedesktop.systemd1.Job.

use super::row::{Group, rows};
use super::{Call, Interface, Methods, Turn, job_row, method::methods, owned};
use crate::front::{Command, ErrorName, JobView, Object, Refusal, unit_path};
use crate::wire::Value;

/// The interface.
pub static INTERFACE: Interface<JobView> = Interface {
    name: "org.freedesktop.systemd1.Job",
    properties: &[&OWN],
    methods: &[&METHODS],
    signals: &[],
};

static OWN: Group<JobView> = rows!(
    JobView,
    [
        fixed("Id", "u", |j| j.id.into()),
        fixed("Unit", "(so)", |j| Value::Struct(vec![owned(&j.unit), Value::path(unit_path(&j.unit))])
            .into()),
        fixed("JobType", "s", |j| j.job_type.into()),
        live("State", "s", |j| j.state.into()),
    ]
);

static METHODS: Methods = methods!([
    method("Cancel", "", "", |c| Ok(Turn::Ask(Command::Cancel { job: own_id(c)? }))),
    method("GetAfter", "", "a(usssoo)", |c| {
        let job = own_id(c)?;
        related(c, job, true)
    }),
    method("GetBefore", "", "a(usssoo)", |c| {
        let job = own_id(c)?;
        related(c, job, false)
    }),
]);

fn own_id(call: &Call<'_>) -> Result<u32, Refusal> {
    match call.object {
        Object::Job(id) => Ok(*id),
        _ => Err(Refusal::new(ErrorName::UnknownObject, "Not a job.")),
    }
}

/// `a(usssoo)` of the jobs that a job waits for, or that wait for it.
pub(super) fn related(call: &mut Call<'_>, job: u32, after: bool) -> Result<Turn, Refusal> {
    let jobs = call.model.related_jobs(job, after);
    Ok(Turn::Reply(vec![Value::array("(usssoo)", jobs.iter().map(job_row).collect())]))
}

/// The refusal for an id that no job has.
pub(crate) fn no_such_job(id: u32) -> Refusal {
    Refusal::new(ErrorName::NoSuchJob, format!("Job {id} does not exist."))
}
