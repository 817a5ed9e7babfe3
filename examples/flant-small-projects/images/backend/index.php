<?php echo getenv("VERSION"), " ", gethostname();
