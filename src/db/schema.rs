//! The tables as diesel sees them; consistent with `migrations/`, see `diesel.toml`.

diesel::table! {
    counters (name) {
        name -> Text,
        value -> BigInt,
    }
}

diesel::table! {
    client_tokens (id) {
        id -> Text,
        name -> Text,
        fingerprint -> Binary,
        prefix -> Text,
        origin -> Text,
        enabled -> Bool,
        created_at_ms -> BigInt,
        expires_at_ms -> Nullable<BigInt>,
        last_used_at_ms -> Nullable<BigInt>,
        old_fingerprint -> Nullable<Binary>,
        old_valid_until_ms -> Nullable<BigInt>,
        terms -> Text,
        note -> Text,
        usage -> Nullable<Text>,
    }
}

diesel::table! {
    keys (id) {
        id -> BigInt,
        fingerprint -> Binary,
        sealed -> Binary,
        origin -> Text,
        label -> Nullable<Text>,
        created_at_ms -> BigInt,
        health -> Nullable<Text>,
        health_at_ms -> Nullable<BigInt>,
        project -> Nullable<Text>,
        tier -> Nullable<Text>,
        weight -> Integer,
        models -> Nullable<Text>,
        tags -> Nullable<Text>,
        requests_total -> BigInt,
        failures_total -> BigInt,
        last_used_at_ms -> Nullable<BigInt>,
        last_error -> Nullable<Text>,
        deleted_at_ms -> Nullable<BigInt>,
        disabled -> Bool,
        disabled_until_ms -> Nullable<BigInt>,
        reset_at_ms -> Nullable<BigInt>,
    }
}

diesel::table! {
    key_events (id) {
        id -> BigInt,
        key_id -> BigInt,
        at_ms -> BigInt,
        times -> BigInt,
        last_at_ms -> BigInt,
        kind -> Text,
        from_state -> Nullable<Text>,
        to_state -> Nullable<Text>,
        reason -> Nullable<Text>,
        cause -> Nullable<Text>,
        model -> Nullable<Text>,
        until_ms -> Nullable<BigInt>,
        account -> Text,
    }
}

diesel::table! {
    quota_ledgers (project) {
        project -> Text,
        ledger -> Text,
        updated_at_ms -> BigInt,
    }
}

diesel::table! {
    resources (name) {
        name -> Text,
        key_id -> BigInt,
        client -> Text,
        expires_at_ms -> BigInt,
    }
}

diesel::table! {
    request_logs (id) {
        id -> Text,
        started_at_ms -> BigInt,
        duration_ms -> BigInt,
        dialect -> Text,
        endpoint -> Text,
        model -> Text,
        stream -> Bool,
        status -> Integer,
        key_id -> Nullable<BigInt>,
        token_id -> Nullable<Text>,
        client_ip -> Nullable<Text>,
        attempts -> Integer,
        trail -> Text,
        first_byte_ms -> Nullable<BigInt>,
        prompt_tokens -> BigInt,
        cached_tokens -> BigInt,
        output_tokens -> BigInt,
        thoughts_tokens -> BigInt,
        error -> Nullable<Text>,
        node -> Nullable<Text>,
    }
}

diesel::table! {
    error_logs (id) {
        id -> BigInt,
        request_id -> Text,
        at_ms -> BigInt,
        key_id -> Nullable<BigInt>,
        model -> Text,
        status -> Nullable<Integer>,
        kind -> Text,
        message -> Text,
        request_body -> Nullable<Text>,
    }
}

diesel::table! {
    responses (id) {
        id -> Text,
        owner -> Text,
        previous_id -> Nullable<Text>,
        response -> Text,
        input -> Text,
    }
}

diesel::table! {
    settings (name) {
        name -> Text,
        value -> Nullable<Text>,
        sealed -> Nullable<Binary>,
        covers -> Nullable<Binary>,
        changed_at_ms -> BigInt,
    }
}

diesel::table! {
    rollups (kind, step_ms, at_ms, name, model) {
        kind -> Text,
        step_ms -> BigInt,
        at_ms -> BigInt,
        name -> Text,
        model -> Text,
        requests -> BigInt,
        succeeded -> BigInt,
        client_errors -> BigInt,
        failed -> BigInt,
        attempts -> BigInt,
        rescued -> BigInt,
        prompt_tokens -> BigInt,
        cached_tokens -> BigInt,
        output_tokens -> BigInt,
        thoughts_tokens -> BigInt,
        last_at_ms -> BigInt,
        first_byte -> Binary,
        duration -> Binary,
    }
}

diesel::table! {
    key_states (at_ms) {
        at_ms -> BigInt,
        active -> BigInt,
        cooling -> BigInt,
        half_open -> BigInt,
        invalid -> BigInt,
        disabled -> BigInt,
    }
}

diesel::table! {
    unsummed_logs (log) {
        log -> Text,
        before_id -> Text,
    }
}
