"""The events that each recorded flow means, in the shorthand of `test_interpreter.py`: S1 is the first session,
a target goes by its number."""

TOLD: dict[str, str] = {
    "extension_to_extension": """
        S1 started 101 to 102
        S1 added 102
        S1 ringing 102
        S1 answered 102
        S1 ended 102 caller_disconnect 0
        S1 over caller_disconnect 0
    """,
    "callee_hangs_up": """
        S1 started 101 to 102
        S1 added 102
        S1 ringing 102
        S1 answered 102
        S1 ended 102 callee_disconnect 0
        S1 over callee_disconnect 0
    """,
    "two_devices": """
        S1 started 101 to 102
        S1 added 102
        S1 added 102#2
        S1 ringing 102#2
        S1 ringing 102
        S1 answered 102#2
        S1 ended 102 None 0
        S1 ended 102#2 caller_disconnect 0
        S1 over caller_disconnect 0
    """,
    "no_answer": """
        S1 started 101 to 103
        S1 added 103
        S1 ringing 103
        S1 ended 103 None 408
        S1 over None 408
    """,
    "no_answer_forward": """
        S1 started 101 to 104
        S1 added 104
        S1 ringing 104
        S1 ended 104 None 408
        S1 added 105
        S1 ringing 105
        S1 answered 105
        S1 ended 105 caller_disconnect 0
        S1 over caller_disconnect 0
    """,
    "busy": """
        S1 started 101 to 102
        S1 added 102
        S1 ringing 102
        S1 ended 102 callee_disconnect 486
        S1 over callee_disconnect 486
    """,
    "rejected": """
        S1 started 101 to 102
        S1 added 102
        S1 ringing 102
        S1 ended 102 callee_disconnect 603
        S1 over callee_disconnect 603
    """,
    "redirected": """
        S1 started 101 to 102
        S1 added 102
        S1 ringing 102
        S1 ended 102 redirected 302
        S1 added 103
        S1 ringing 103
        S1 answered 103
        S1 ended 103 caller_disconnect 0
        S1 over caller_disconnect 0
    """,
    "cancelled": """
        S1 started 101 to 102
        S1 added 102
        S1 ringing 102
        S1 ended 102 cancelled 487
        S1 over cancelled 487
    """,
    "unknown_number": """
        S1 started 101 to 777
        S1 over None 404
    """,
    "unknown_did": """
        S1 started 1888722 to 18809999
        S1 over None 404
    """,
    "absent": """
        S1 started 101 to 103
        S1 over None 480
    """,
    "two_tenants_at_once": """
        S1 started 101 to 102
        S1 added 102
        S2 started 101 to 102
        S2 added 102#2
        S1 ringing 102
        S2 ringing 102#2
        S1 answered 102
        S2 answered 102#2
        S1 ended 102 caller_disconnect 0
        S1 over caller_disconnect 0
        S2 ended 102#2 callee_disconnect 0
        S2 over callee_disconnect 0
    """,
    "trunk_to_extension": """
        S1 started 1888722 to 101
        S1 added 101
        S1 ringing 101
        S1 answered 101
        S1 ended 101 caller_disconnect 0
        S1 over caller_disconnect 0
    """,
    "outbound": """
        S1 started 101 to 95550199
        S1 added 5550199
        S1 ringing 5550199
        S1 answered 5550199
        S1 ended 5550199 callee_disconnect 0
        S1 over callee_disconnect 0
    """,
    "did_to_mobile": """
        S1 started 1888722 to 95550199
        S1 added 5550199
        S1 ringing 5550199
        S1 answered 5550199
        S1 ended 5550199 caller_disconnect 0
        S1 over caller_disconnect 0
    """,
    "ivr_queue_agent": """
        S1 started 1888722 to 5000
        S1 added 5000
        S1 ringing 5000
        S1 answered 5000
        S1 ended 5000 referred 0
        S1 added 8000
        S1 ringing 8000
        S1 answered 8000
        S1 added 102
        S1 added 103
        S1 ringing 102
        S1 ringing 103
        S1 answered 103
        S1 ended 8000 referred 0
        S1 ended 102 None 0
        S1 ended 103 None 0
        S1 over callee_disconnect 0
    """,
    "ivr_abandoned": """
        S1 started 1888722 to 5000
        S1 added 5000
        S1 ringing 5000
        S1 answered 5000
        S1 ended 5000 caller_disconnect 0
        S1 over caller_disconnect 0
    """,
    "queue_abandoned": """
        S1 started 101 to 8000
        S1 added 8000
        S1 ringing 8000
        S1 answered 8000
        S1 added 102
        S1 added 103
        S1 ringing 102
        S1 ringing 103
        S1 ended 102 cancelled 487
        S1 ended 103 cancelled 487
        S1 ended 8000 caller_disconnect 0
        S1 over caller_disconnect 0
    """,
    "ring_group": """
        S1 started 101 to 6000
        S1 added 104
        S1 added 105
        S1 ringing 104
        S1 ringing 105
        S1 ended 104 None 0
        S1 answered 105
        S1 ended 105 caller_disconnect 0
        S1 over caller_disconnect 0
    """,
    "ivr_ring_group": """
        S1 started 1888722 to 5000
        S1 added 5000
        S1 ringing 5000
        S1 answered 5000
        S1 ended 5000 referred 0
        S1 added 104
        S1 added 105
        S1 ringing 104
        S1 ringing 105
        S1 ended 105 None 0
        S1 answered 104
        S1 ended 104 caller_disconnect 0
        S1 over caller_disconnect 0
    """,
    "blind_transfer_by_callee": """
        S1 started 101 to 102
        S1 added 102
        S1 ringing 102
        S1 answered 102
        S1 ended 102 referred 0
        S1 added 103
        S1 ringing 103
        S1 answered 103
        S1 ended 103 caller_disconnect 0
        S1 over caller_disconnect 0
    """,
    "blind_transfer_by_caller": """
        S1 started 101 to 102
        S1 added 102
        S1 ringing 102
        S1 answered 102
        S1 caller left blind_transfer_complete
        S1 added 103 by 102
        S1 ringing 103
        S1 answered 103
        S1 ended 103 callee_disconnect 0
        S1 ended 102 caller_disconnect 0
        S1 over callee_disconnect 0
    """,
    "blind_transfer_to_nobody": """
        S1 started 101 to 102
        S1 added 102
        S1 ringing 102
        S1 answered 102
        S1 ended 102 caller_disconnect 0
        S1 over caller_disconnect 0
    """,
    "caller_transfers_to_ivr": """
        S1 started 101 to 105
        S1 added 105
        S1 ringing 105
        S1 answered 105
        S1 caller left blind_transfer_complete
        S1 added 5000 by 105
        S1 ringing 5000
        S1 answered 5000
        S1 ended 5000 referred 0
        S1 added 8000 by 105
        S1 ringing 8000
        S1 answered 8000
        S1 added 102 by 105
        S1 added 103 by 105
        S1 ringing 102
        S1 ringing 103
        S1 answered 102
        S1 ended 8000 referred 0
        S1 ended 103 None 0
        S1 ended 102 None 0
        S1 ended 105 callee_disconnect 0
        S1 over caller_disconnect 0
    """,
    "attended_transfer_by_callee": """
        S1 started 1888722 to 101
        S1 added 101
        S1 ringing 101
        S1 answered 101
        S1 held 101
        S2 started 101 to 103
        S2 added 103
        S2 ringing 103
        S2 answered 103
        S1 unheld 101
        S1 ended 101 attended_transfer_complete 0
        S2 caller left replaced
        S2 merged into S1
        S1 ended 103 caller_disconnect 0
        S1 over caller_disconnect 0
    """,
    "attended_transfer_by_caller": """
        S1 started 101 to 102
        S1 added 102
        S1 ringing 102
        S1 answered 102
        S1 held caller
        S2 started 101 to 103
        S2 added 103
        S2 ringing 103
        S2 answered 103
        S1 unheld caller
        S1 caller left attended_transfer_complete
        S2 caller left replaced
        S2 merged into S1
        S1 ended 103 callee_disconnect 0
        S1 ended 102 caller_disconnect 0
        S1 over callee_disconnect 0
    """,
    "trunk_transferred_to_trunk": """
        S1 started 1888722 to 101
        S1 added 101
        S1 ringing 101
        S1 answered 101
        S1 ended 101 referred 0
        S1 added 5550199
        S1 ringing 5550199
        S1 answered 5550199
        S1 ended 5550199 callee_disconnect 0
        S1 over callee_disconnect 0
    """,
    "hold_unhold": """
        S1 started 101 to 102
        S1 added 102
        S1 ringing 102
        S1 answered 102
        S1 held caller
        S1 unheld caller
        S1 held 102
        S1 unheld 102
        S1 ended 102 caller_disconnect 0
        S1 over caller_disconnect 0
    """,
    "feature_codes": """
        S1 started 101 to 102
        S1 added 102
        S1 ringing 102
        S1 answered 102
        S1 feature *48 by caller
        S1 feature *49 by caller
        S1 feature *45 by 102
        S1 feature *44 by 102
        S1 ended 102 caller_disconnect 0
        S1 over caller_disconnect 0
    """,
}
