-- What large fleets and long histories need: the dispatcher's and the housekeeping's ways in.

-- Jobs that can be in the way of a queued one, by what they share with it.
create index jobs_unsettled_by_cluster on jobs (cluster, kind, created_at, id)
    where state in ('queued', 'running', 'paused', 'cancelling', 'abandoning');
create index jobs_unsettled_by_policy on jobs (policy, kind, created_at, id)
    where policy is not null and state in ('queued', 'running', 'paused', 'cancelling', 'abandoning');

-- A job's tasks that are to be placed, longest waiting first; tasks_due goes over all jobs.
create index tasks_ready_by_job on tasks (job, run_at, id) where state = 'ready';
-- What a job has in workers' hands: how many uploads run at once.
create index tasks_in_hand_by_job on tasks (job, kind) where state in ('dispatched', 'running');

-- What metrics count, without the rows it was counted from. Labels that do not apply are empty.
create table counters (
    name     text not null,
    cluster  text not null,
    policy   text not null,
    kind     text not null,
    result   text not null,
    value    double precision not null,
    primary key (name, cluster, policy, kind, result)
);
-- Over for good, and added to the counters.
alter table jobs add column counted boolean not null default false;
create index jobs_not_counted on jobs (state) where not counted;

-- History is forgotten from its old end.
create index jobs_by_end on jobs (ended_at) where counted;
create index jobs_by_kind on jobs (cluster, kind, created_at);
create index fires_by_job on fires (job) where job is not null;
create index fires_skipped on fires (fire_time) where job is null;
create index holds_of_job on holds (job) where job is not null;
create index holds_released on holds (released_at) where released_at is not null;
create index inbox_by_job on inbox (job);
create index inbox_by_time on inbox (created_at);
create index topologies_by_end on topologies (valid_to) where valid_to is not null;
