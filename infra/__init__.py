"""What runs on AWS: stacks composed in `app.py` from one Deployment."""
