-- What a job's nodes keep to since somebody said so while it ran, beside their rate: requests a second to the store (0: no
-- limit, null: as it was asked for), and by the name of a data center what its nodes keep to.
alter table jobs add column request_limit bigint;
alter table jobs add column data_center_limits jsonb;

-- Uploads of one job with the same group share its max_parallel: those of the cluster, of a data center or of a rack.
alter table tasks add column parallel_group text not null default '';
