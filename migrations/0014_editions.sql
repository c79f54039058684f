-- What a worker's run calls what it last said of itself, so that a worker with nothing new to say need not say it again.
alter table workers add column edition integer;
