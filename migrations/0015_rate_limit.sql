-- What a job's nodes keep to since somebody said so while it ran, in bytes a second; 0: no limit, null: as it was asked for.
alter table jobs add column rate_limit bigint;
