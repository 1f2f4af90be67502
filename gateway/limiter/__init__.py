"""One door to a decision: may this request pass?"""
