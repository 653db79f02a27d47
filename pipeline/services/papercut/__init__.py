"""PaperCut NG and MF: XML-RPC for users, its database for jobs and for many users at once."""
