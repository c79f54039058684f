-- Drills: when one last proved that a cluster can be restored, and drills among the evidence.
create index drills_that_proved on jobs (backup_cluster, ended_at desc)
    where kind = 'drill' and state = 'succeeded' and outcome = 'ok';

drop index jobs_of_evidence;
create index jobs_of_evidence on jobs (ended_at desc)
    where kind in ('restore', 'purge', 'drill') and ended_at is not null;
