-- Until when the store keeps a backup from being deleted (S3 Object Lock), as its seal says.
alter table backups add column locked_until timestamptz;
