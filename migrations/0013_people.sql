-- People who sign in at an identity provider: a session may stand for one of them, instead of a token.

alter table sessions
    -- Known to administrators, unlike the cookie and its hash.
    add column id      uuid not null default gen_random_uuid(),
    -- What the person is called, what they may do, which provider vouched for them and who they are there.
    add column person  text,
    add column role    text,
    add column issuer  text,
    add column subject text,
    drop constraint sessions_check,
    add check (num_nonnulls(token, bound, person) = 1),
    add check (num_nonnulls(person, role, issuer, subject) in (0, 4));
create unique index sessions_by_id on sessions (id);

-- What somebody told a job to do is told of people as of tokens.
drop index transitions_by_hand;
create index transitions_by_hand on transitions (at desc)
    where task is null and from_state is not null
        and (actor like 'token %' or actor like 'person %' or actor like 'amqp %');
