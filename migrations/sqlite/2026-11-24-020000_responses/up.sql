-- Responses that their clients asked to keep, each with what it was asked and the one that it followed.
CREATE TABLE responses (
    -- resp_ and a UUID of version 7, so that ids sort by time.
    id TEXT NOT NULL PRIMARY KEY,
    -- Names the client's token, and is of no use without the encryption key.
    owner TEXT NOT NULL,
    previous_id TEXT,
    -- The response and the list of its own input items, as JSON.
    response TEXT NOT NULL,
    input TEXT NOT NULL
);
